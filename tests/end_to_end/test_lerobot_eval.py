"""lerobot's own evaluation runs an exported policy: the same worlds of PushT give the results of eval.py.

run on task=pusht --eval.py--> eval.json        run --scripts.export--> folder --lerobot-eval--> eval_info.json
                                                                               +--------> recordings: offline_data
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from toys.commands import ROOT
from toys.requests import newest_evaluation
from toys.tiny_diffusion import make_tiny_diffusion
from toys.typed import type_eval, type_train

from dsrl.run.components.build import build
from dsrl.training.offline_data import OfflineData
from scripts.export.__main__ import main as export

FIRST_WORLD = 472  # here and in the next one the block lies on the outline, near the agent
OBSERVATION = "environment_state_agent_pos"
NUMBERS = {"cameras": (), "state_dim": 2, "surroundings_dim": 16, "action_dim": 2, "bounds": (0.0, 512.0)}
TRAIN = ("task=pusht", "task.observation=state", "task.reward=dense", "task.max_steps=24")
TRAIN += ("task.processes=false", "num_envs=2", "policy.num_steps=5", "policy.device=cpu", "noise=full", "sac.hidden=8")
TRAIN += ("decisions=24", "warmup_decisions=12", "batch_size=4", "sac.critic_warmup_updates=1", "eval_every=24")
TRAIN += (f"test_seed={FIRST_WORLD}", "eval_episodes=2", "validation_episodes=2", "confirm_episodes=0")
TRAIN += ("video_episodes=0", "plot=false")
EVAL = ("--env.type=pusht", f"--env.obs_type={OBSERVATION}", "--env.episode_length=24", f"--seed={FIRST_WORLD}")
EVAL += ("--eval.n_episodes=2", "--eval.batch_size=2", "--eval.use_async_envs=false", "--eval.recording=true")
EVAL += ("--policy.device=cpu",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run under a small Diffusion Policy with a history of two observations."""
    folder = tmp_path_factory.mktemp("pusht")
    base = make_tiny_diffusion(folder / "base", **NUMBERS)
    assert type_train(folder / "run", f"policy.path={base}", "logging=none", start=TRAIN) is None
    assert type_eval(f"run={folder / 'run'}", "checkpoint=last") is None
    return folder / "run"


@pytest.fixture(scope="module")
def theirs(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of lerobot-eval."""
    folder = tmp_path_factory.mktemp("lerobot")
    export([f"run={run}", f"out={folder / 'exported'}", "checkpoint=last"])
    plugin = shutil.copytree(ROOT / "plugins" / "lerobot_policy_dsrl", folder / "plugin")
    code = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=plugin, capture_output=True, check=True
    )  # lerobot finds plugins by it
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(plugin))
        patch.setattr(sys, "argv", ["lerobot-eval", f"--policy.path={folder / 'exported'}", *EVAL,
                                    f"--output_dir={folder / 'out'}"])  # fmt: skip
        _lerobot_eval()
    return folder / "out"


def _lerobot_eval() -> None:
    """Do what the command does, apart from its logging, which would stay behind."""
    from lerobot.scripts.lerobot_eval import eval_main
    from lerobot.utils.import_utils import register_third_party_plugins

    register_third_party_plugins()
    eval_main()


def test_lerobot_eval_gets_the_results_of_eval(run: Path, theirs: Path) -> None:
    evaluation = newest_evaluation(run)
    ours: dict[str, Any] = evaluation["worlds"]
    (task,) = json.loads((theirs / "eval_info.json").read_text())["per_task"]
    assert task["metrics"]["successes"] == ours["successes"]
    assert task["metrics"]["sum_rewards"] == pytest.approx(ours["returns"], rel=1e-5)
    base = json.loads((run / "summary.json").read_text())["base"]
    assert sum(ours["returns"]) / 2 != pytest.approx(base["mean_return"], rel=1e-3)  # the noise moves the block


def test_rollouts_that_lerobot_eval_has_recorded_enter_replay_as_they_are(run: Path, theirs: Path) -> None:
    parts = build(OmegaConf.load(run / "checkpoints" / "config.yaml"), print)
    ours = newest_evaluation(run)["worlds"]
    for world in range(2):
        data = OfflineData(str(theirs / "recordings" / "pusht_0" / f"env_{world}"), parts.env)
        assert data.num_episodes == 1
        assert sum(one.env_steps for one in data.transitions) == 24
        assert sum(one.reward for one in data.transitions) == pytest.approx(ours["returns"][world], rel=1e-5)
