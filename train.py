"""Steer a frozen policy: evaluate the base, train the noise actor, evaluate again. `python train.py --help`"""

import os

import hydra
from omegaconf import DictConfig

from dsrl.run.errors import run
from dsrl.run.typed_keys import check_train

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """Run the experiment and return the steered success rate (the mean return where a task knows no success)."""
    check_train(cfg)  # wrong values and keys without effect show before torch is loaded
    from dsrl.run.train import train  # not above: `--help` answers without loading torch

    return train(cfg)


if __name__ == "__main__":
    run(main)
