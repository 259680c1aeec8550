"""Checks whether this machine can run the main job: a function per check in packages.py, machine.py and services.py."""
