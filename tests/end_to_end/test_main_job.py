"""One tiny real run of everything: Genesis worlds, a lerobot checkpoint, training, and the evaluation again."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import torch
from toys.commands import type_command
from toys.requests import newest_evaluation
from toys.tiny_smolvla import IMAGE_SIZE, make_tiny_checkpoint
from toys.typed import type_eval

TINY = (
    "num_envs=4",
    f"task.image_size={IMAGE_SIZE}",
    "task.max_steps=16",
    "decisions=24",
    "warmup_decisions=8",
    "batch_size=8",
    "sac.critic_warmup_updates=4",
    "eval_every=24",
    "eval_episodes=6",
    "validation_episodes=2",
    "confirm_episodes=8",
    "video_episodes=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a random policy that reaches about the middle of the table."""
    folder = tmp_path_factory.mktemp("main_job")
    reach = {"mean": torch.tensor([0.5, 0.0, 0.2, 0.04]), "std": torch.tensor([0.05, 0.1, 0.05, 0.04])}
    stats = {"observation.state": reach, "action": reach}
    checkpoint = make_tiny_checkpoint(
        folder / "policy", cameras=("front", "wrist"), state_dim=4, action_dim=4, chunk=8, stats=stats
    )
    done = type_command("train.py", f"policy.path={checkpoint}", f"hydra.run.dir={folder / 'run'}", *TINY, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"python eval.py run={folder / 'run'}" in done.stdout
    return folder / "run"


def test_a_run_of_the_main_job_leaves_everything_in_its_folder(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for policy in ("base", "base_under_actor_noise", "steered"):
        assert summary[policy]["episodes"] == 6
        low, high = summary[policy]["ci95"]
        assert 0 <= low <= summary[policy]["success_rate"] <= high <= 1
    assert summary["decisions"] == 24
    assert 24 < summary["env_steps"] <= 24 * 8
    assert summary["gradient_steps"] == 4 + 24 - 8
    hashes = summary["policy_sha256"]
    assert hashes["before"] == hashes["after"]
    assert len(hashes["before"]) == 64
    for name in ("metrics.csv", "metrics.jsonl", "learning_curve.png", "tensorboard", "checkpoints/best/manifest.json"):
        assert (run / name).exists(), name
    with av.open(str(run / "base_vs_steered.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) > 5


def test_eval_repeats_the_final_evaluation_to_the_last_digit_in_another_process(run: Path) -> None:
    assert type_eval(f"run={run}") is None
    summary, again = json.loads((run / "summary.json").read_text()), newest_evaluation(run)
    assert again["result"] == summary["steered"]
    assert again["policy_sha256"] == summary["policy_sha256"]["after"]
    assert again["packages"] == summary["packages"]
    assert len(again["config_sha256"]) == 64
