"""Policies of type dsrl for lerobot; importing this registers them."""

from lerobot_policy_dsrl.configuration_dsrl import DsrlConfig

__all__ = ["DsrlConfig"]
