"""Makes a base policy by cloning the demonstrations of a LeRobotDataset.

    python -m scripts.pretrain --policy smolvla --dataset my/dataset --init lerobot/smolvla_base --out my_policy
    python -m scripts.pretrain --policy flow_mlp --dataset data/simple_pick_state --out data/policy --chunk 8
    python -m scripts.pretrain --policy diffusion_mlp --dataset data/hopper --out data/hopper_medium --chunk 4
    python -m scripts.pretrain --policy diffusion --dataset lerobot/pusht --out data/pusht_policy

Without --policy it is smolvla. The options of each policy: python -m scripts.pretrain --policy flow_mlp --help
"""

from __future__ import annotations

from collections.abc import Sequence

from scripts._options import Parser, ending_in_a_sentence
from scripts.pretrain.options import diffusion_options, mlp_options, smolvla_options

KINDS = ("smolvla", "diffusion", "flow_mlp", "diffusion_mlp")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the chosen policy and write its checkpoint."""
    parser = Parser(add_help=False)  # the parser of the chosen policy prints the help
    parser.add_argument("--policy", choices=KINDS, default="smolvla")
    chosen, others = parser.parse_known_args(arguments)
    if chosen.policy == "smolvla":
        options = smolvla_options(__doc__, others)
    elif chosen.policy == "diffusion":
        options = diffusion_options(__doc__, others)
    else:
        options = mlp_options(chosen.policy, __doc__, others)
    from dsrl.training.lerobot_columns import dataset_named
    from scripts._complete_folder import complete_folder

    with ending_in_a_sentence(FileNotFoundError, ValueError), complete_folder(options.out) as out:
        dataset_named(options.dataset, "--dataset ")  # before lerobot is loaded
        if "cuda" in getattr(options, "device", "cpu"):
            from dsrl.devices import choose_device

            choose_device(options.device, "--device ")
        if chosen.policy == "smolvla":
            from scripts.pretrain import smolvla

            smolvla.pretrain(options, out)
        elif chosen.policy == "diffusion":
            from scripts.pretrain import diffusion

            diffusion.pretrain(options, out)
        else:
            from scripts.pretrain import mlp

            mlp.pretrain(chosen.policy, options, out)


if __name__ == "__main__":
    main()
