"""Options that several tasks share: their types and ranges."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

Steps = Annotated[int, Ge(1), Le(1_000_000)]  # control steps until an episode is truncated
