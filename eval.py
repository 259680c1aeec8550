"""Repeat the final evaluation of a saved run: `python eval.py run=outputs/…/…`"""

import os

import hydra
from omegaconf import DictConfig

from dsrl.run.errors import run
from dsrl.run.typed_keys import check_eval

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other


@hydra.main(version_base="1.3", config_path="conf", config_name="eval")
def main(cfg: DictConfig) -> float:
    """Evaluate and return the success rate (the mean return where a task knows no success)."""
    check_eval(cfg)  # wrong values and options without effect show before torch is loaded
    from dsrl.run.evaluate import evaluate  # not above: `--help` answers without loading torch

    return evaluate(cfg)


if __name__ == "__main__":
    run(main)
