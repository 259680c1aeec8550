"""The devices that a config may name, and the choice among those of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "cuda:<n>"]  # <n> is a number


def choose_device(device: str, named: str = "policy.device=") -> torch.device:
    """Return the device that a config names; `auto` is CUDA where there is one. Errors begin with `named`.

    Raises:
        ValueError: if there is no such device, or not on this machine.
    """
    import torch  # not above: settings are checked before it is loaded

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{named}{device} is no device; type auto, cpu or cuda") from None
    present = torch.cuda.device_count()
    number = int(device.partition(":")[2] or 0)  # the index of torch wraps: that of cuda:256 is 0
    if chosen.type == "cuda" and number >= present:
        found = f"torch {torch.__version__} sees {present or 'no'} CUDA device{'s' if present > 1 else ''}"
        raise ValueError(f"{named}{device} but {found}; type auto or cpu")
    return chosen
