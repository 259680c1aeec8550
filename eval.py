"""Repeat the final evaluation of a saved run: `python eval.py run=outputs/…/…`"""

import hydra
from omegaconf import DictConfig

from dsrl.run.commands import repeat_evaluation
from dsrl.run.terminal.errors import run


@hydra.main(version_base="1.3", config_path="conf", config_name="eval")
def main(cfg: DictConfig) -> float:
    """Evaluate and return the success rate (the mean return where a task knows no success)."""
    return repeat_evaluation(cfg)


if __name__ == "__main__":
    run(main)
