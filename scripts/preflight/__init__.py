"""Before any training: can steering help this policy at all, and through which noise?

measure.py plays the frozen policy under several noises, verdict.py judges by fixed rules, report.py shows both.
"""
