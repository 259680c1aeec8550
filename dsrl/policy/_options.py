"""Options that several policies share: their types and ranges."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

NumSteps = Annotated[int, Ge(1), Le(1000)]  # of a denoising; a run that is to stop finishes the one that it is in
