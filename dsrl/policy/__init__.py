"""Frozen policies steered by their initial noise."""

from __future__ import annotations


def check_path(target: str, path: str) -> None:
    """Raise FileNotFoundError or ValueError where `path` holds no checkpoint for the class or function `target`.

    It imports neither lerobot, which takes many seconds, nor, so that `import dsrl.policy` stays light, torch before it
    is called. Targets that are not of lerobot pass: they have a check of their own, and are imported at once.
    """
    from dsrl.policy.lerobot import check_class

    check_class(target, path)
