"""Compares many runs: which method is better, by how much, and with which uncertainty.

run folders -> runs.gather -> methods.group -> statistics -> plots, tables -> page
"""
