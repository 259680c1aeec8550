"""Make a base policy from demonstrations: one entry, a module for each kind of policy.

    python -m scripts.pretrain --policy smolvla --dataset my/dataset --init lerobot/smolvla_base --out my_policy
    python -m scripts.pretrain --policy flow_mlp --dataset data/simple_pick_state --out data/policy --chunk 8
    python -m scripts.pretrain --policy diffusion_mlp --help

Without --policy it is SmolVLA.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

KINDS = ("smolvla", "flow_mlp", "diffusion_mlp")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # --help is answered by the chosen kind
    parser.add_argument("--policy", choices=KINDS, default="smolvla")
    chosen, others = parser.parse_known_args(arguments)
    try:
        if chosen.policy == "smolvla":
            from scripts.pretrain import smolvla as pretrain_smolvla

            pretrain_smolvla.main(others)
        else:
            from scripts.pretrain import mlp as pretrain_mlp

            pretrain_mlp.main(chosen.policy, others)
    except FileNotFoundError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
