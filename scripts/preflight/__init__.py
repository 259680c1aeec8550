"""Estimates, before any training, whether steering can improve a policy and through which noise.

measure.py plays the frozen policy under several noises, verdict.py applies fixed rules, report.py shows both.
"""
