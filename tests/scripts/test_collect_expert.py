"""From MetaWorld's scripted expert to a base policy that plays, in tiny sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsrl.run.components.parts import HasFps
from dsrl.task.metaworld import MetaWorldTask
from dsrl.training.lerobot_columns import columns_of
from scripts import collect_expert
from scripts._lerobot_dataset import open_dataset
from scripts._parts import build_parts
from scripts.collect_expert import collect, make_expert, play
from scripts.experts.pusht import Planner
from scripts.pretrain.__main__ import main as pretrain_main

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations") / "reach-v3"
    options = ["--name", "reach-v3", "--out", str(folder), "--episodes", "3", "--num-envs", "2", "--noise", "0.1"]
    collect_expert.main(options)
    return folder


def test_every_recorded_demonstration_ends_in_success(dataset: Path) -> None:
    frames = open_dataset(str(dataset)).hf_dataset.with_format("torch")
    ends = frames["episode_index"][:].diff(append=torch.tensor([99])) != 0
    assert ends.sum() == 3
    assert torch.equal(torch.as_tensor(frames["next.success"][:]).flatten(), ends)
    assert torch.equal(torch.as_tensor(frames["next.reward"][:]).flatten(), ends.float())
    assert frames["observation.state"][:].shape[1] == 39


def test_an_interrupted_recording_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_attempt_alone(*arguments: Any) -> Any:
        if any(tmp_path.iterdir()):  # its demonstration has been recorded
            raise KeyboardInterrupt
        return play(*arguments)

    monkeypatch.setattr(collect_expert, "play", first_attempt_alone)
    with pytest.raises(SystemExit):
        collect_expert.main(["--name", "reach-v3", "--out", str(tmp_path / "reach"), "--num-envs", "1", "--noise", "0"])
    assert not any(tmp_path.iterdir())


def test_a_base_policy_of_the_demonstrations_plays_chunks_of_32_numbers(dataset: Path, tmp_path: Path) -> None:
    pretrain_main(["--policy", "flow_mlp", "--dataset", str(dataset), "--out", str(tmp_path / "base"), "--steps", "3",
                   "--hidden", "16", "--depth", "1"])  # fmt: skip
    parts = build_parts(["task=metaworld", "task.name=reach-v3", f"policy.path={tmp_path / 'base'}", "num_envs=2"])
    assert parts.noise.dim == 32
    assert parts.policy.chunk_shape == (8, 4)


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations") / "pusht"
    collect_expert.main(["--name", "PushT-v0", "--out", str(folder), "--episodes", "2", "--num-envs", "2"])
    return folder


def test_the_planner_of_pusht_covers_the_outline_and_its_dataset_is_that_of_lerobots_environment(pushes: Path) -> None:
    from lerobot.envs.configs import PushtEnv
    from lerobot.envs.utils import env_to_policy_features

    opened = open_dataset(str(pushes))
    frames = opened.hf_dataset.with_format("torch")
    assert torch.as_tensor(frames["next.success"][:]).sum() == 2
    policys = env_to_policy_features(PushtEnv(obs_type="environment_state_agent_pos"))
    assert {key: tuple(opened.meta.features[key]["shape"]) for key in policys} == {
        key: feature.shape for key, feature in policys.items()
    }
    expert = make_expert("PushT-v0", 1, "images", 96)
    assert isinstance(expert.task, HasFps)
    assert expert.task.fps == expert.hz
    images = columns_of(expert.task)
    assert set(env_to_policy_features(PushtEnv())) == set(images)


def test_a_diffusion_policy_of_its_demonstrations_plays_pusht(pushes: Path, tmp_path: Path) -> None:
    options = ["--steps", "2", "--width", "8", "--batch", "4", "--num-steps", "2", "--held-out", "0.5"]
    pretrain_main(["--policy", "diffusion", "--dataset", str(pushes), "--out", str(tmp_path / "base"), *options])
    parts = build_parts(["task=pusht", "task.observation=state", f"policy.path={tmp_path / 'base'}", "num_envs=1",
                         "task.processes=false", "noise=smooth"])  # fmt: skip
    assert parts.policy.num_observations == 2
    assert (parts.policy.chunk_shape, parts.policy.noise_shape) == ((8, 2), (16, 2))


def test_recording_wanted_actions_leaves_out_the_noise_that_moves_the_worlds() -> None:
    executed, wanted = (
        play(make_expert("reach-v3", 2, "state", 32), [3, 4], 0.1, np.random.default_rng(5), record_wanted)
        for record_wanted in (False, True)
    )
    assert len(executed) == len(wanted) > 5
    assert all(torch.equal(one[0].state, other[0].state) for one, other in zip(executed, wanted, strict=True))
    noise = torch.stack([one[1] - other[1] for one, other in zip(executed, wanted, strict=True)])
    assert 0.02 < noise.std() < 0.15


def test_equal_poses_of_pusht_give_equal_plans() -> None:
    info = {"pos_agent": (250.0, 100.0), "block_pose": (220.0, 300.0, 0.4)}
    first, second = Planner(), Planner()
    second.get_action({**info, "pos_agent": (100.0, 400.0)})
    second.begin()
    assert first.get_action(info).tolist() == second.get_action(info).tolist()


@pytest.mark.parametrize(
    ("name", "typed", "fact"),
    [
        ("PushT-v0", "--image-size 64", "PushT-v0 has 96 pixels"),
        ("libero_goal/1", "--observation state", "libero_goal/1 has images alone"),
    ],
)
def test_an_option_that_a_benchmark_has_not_is_refused_before_anything_is_loaded(
    name: str, typed: str, fact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        collect_expert.main(["--name", name, "--out", str(tmp_path / "none"), *typed.split()])
    assert capsys.readouterr().err == f"error: {typed} but {fact}; leave it out\n"


def test_noise_in_which_no_expert_succeeds_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(name: str, num_envs: int, observation: Any, reward: Any, _: int, *pictures: Any) -> MetaWorldTask:
        return MetaWorldTask(name, num_envs, observation, reward, 40, *pictures)

    monkeypatch.setattr("scripts.experts.metaworld.MetaWorldTask", short)
    expert = make_expert("pick-place-v3", 20, "state", 32)
    assert isinstance(expert.task, HasFps)
    assert expert.task.fps == expert.hz
    with pytest.raises(ValueError, match=r"--noise 2.0 leaves 0 successes in 20 attempts at pick-place-v3; lower it"):
        collect(expert, "pick-place-v3", tmp_path / "none", 1, 2.0, 1)
    assert not (tmp_path / "none").exists()
