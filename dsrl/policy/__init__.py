"""Frozen policies steered by their initial noise."""

from __future__ import annotations


def check_path(target: str, path: str) -> bool:
    """Return whether `target` loads policies of lerobot; the checkpoint at `path` is then checked.

    lerobot, which takes many seconds, is not imported for it. Other policies check their path themselves. Raises
    FileNotFoundError or ValueError where no checkpoint of the policy's type is at `path`.
    """
    from dsrl.policy.lerobot import check_class  # here, so that `import dsrl.policy` loads no torch

    return check_class(target, path)
