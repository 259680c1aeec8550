"""Programs beside train.py and eval.py. In a wheel this package is dsrl.scripts, whose modules import `scripts` too."""

import sys

sys.modules.setdefault("scripts", sys.modules[__name__])
