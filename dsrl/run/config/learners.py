"""Words which keys of conf/train.yaml an algorithm does not use, by the options that it has.

utd                  the algorithm has the option gamma
offline_data         it has the option regulariser, or is none of ours: then it is built, and shows whether it can
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrl.run.terminal import choices

LEARNERS = {  # keys of conf/train.yaml that not all algorithms use -> the option that those have which do
    "batch_size": "gamma",
    "buffer_size": "gamma",
    "utd": "gamma",
    "learner_device": "gamma",
    "success_share": "gamma",
    "warmup_decisions": "gamma",
    "eval_every": "gamma",
    "stop_on_collapse": "gamma",
    "best_of": "replay",
    "offline_data": "regulariser",
    "offline_updates": "regulariser",
    "offline_share": "regulariser",
    "offline_cloning_updates": "regulariser",
}
OFF = (None, False)  # typed values that only confirm that an option has no effect
WITHOUT = {
    "gamma": "which learns no networks",
    "replay": "which does not learn from executed chunks",
    "regulariser": "which does not learn from recorded decisions",
}
NO_RECORDS = ("dsrl_pi0", "golden_ticket", "lp_ds")  # modules of dsrl.sac that do not learn from recorded decisions


def learns_with(sac: Mapping[str, Any], key: str) -> bool:
    """Return whether an algorithm with the options `sac` may use a key of LEARNERS."""
    option = LEARNERS[key]
    added = sac["_target_"].rpartition(".")[0] not in [f"dsrl.sac.{name}" for name in NO_RECORDS]
    return option in sac or (option == "regulariser" and added)


def other_learner(text: str, key: str, sac: str) -> str:
    """Word that `sac` does not use the key that was typed as `text`, and which choices do."""
    works = choices.with_option("sac", LEARNERS[key])
    other = f", or choose sac={' or sac='.join(works)}" if len(works) <= 4 else ""
    return f"{text} is not used by sac={sac}, {WITHOUT[LEARNERS[key]]}; leave it out{other}"
