"""Steer a frozen policy: evaluate the base, train the noise actor, evaluate again. `python train.py --help`"""

import hydra
from omegaconf import DictConfig

from dsrl.run.commands import run_experiment
from dsrl.run.terminal.errors import run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """Run the experiment and return the best validation's success rate (mean return where a task has no success)."""
    return run_experiment(cfg)


if __name__ == "__main__":
    run(main)
