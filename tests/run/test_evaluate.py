"""eval.py on saved runs: paired with the base, broken down, its failures listed and recorded."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from torch import Tensor
from toys.guess import Echo, Guess
from toys.requests import newest_evaluation, options_of, request_of

from dsrl.evaluation import report
from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import base_noise
from dsrl.evaluation.summary import by_instruction, summary
from dsrl.interfaces import Observation, Step
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.parts import Parts
from dsrl.run.config.request import check_worlds, requests
from dsrl.run.config.settings import Settings
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError


@pytest.mark.parametrize("option", [{"eval_episodes": 3_000_000_000}, {"test_seed": 10**20}, {"video_seeds": [2**32]}])
def test_worlds_of_a_request_have_bounds(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}=.* must be "):
        requests(options_of(run="runs/0", **option))


@pytest.mark.parametrize(("first", "episodes"), [(2**30, 1), (2**30 - 9, None), (None, 2**30)])
def test_training_worlds_judge_no_policy(first: int | None, episodes: int | None, tmp_path: Path) -> None:
    request = request_of(tmp_path, test_seed=first, eval_episodes=episodes)
    with pytest.raises(ValueError, match=r"test_seed=\d+ reaches into the training worlds, which start at 1073741824"):
        check_worlds(request, episodes=10, first_seed=1_000_000)
    check_worlds(request_of(tmp_path, test_seed=2**29 - 10), episodes=10, first_seed=1_000_000)


@pytest.mark.parametrize("first", [2**29 - 9, 2**30 - 10])
def test_worlds_of_demonstrations_judge_no_policy(first: int, tmp_path: Path) -> None:
    sentence = f"test_seed={first} reaches into the worlds of demonstrations, .*; type test_seed=536870902 or less"
    with pytest.raises(ValueError, match=sentence):
        check_worlds(request_of(tmp_path, test_seed=first), episodes=10, first_seed=1_000_000)


class Instructed(Guess):
    """The guessing task with an instruction that names the sign."""

    def observe(self) -> Observation:
        seen = super().observe()
        sentences = tuple("go up" if target > 0 else "go down" for target in self.target[:, 0])
        return Observation(seen.state, seen.images, sentences)


class Overheating(Guess):
    """The guessing task on a robot that stops in its first step."""

    def step(self, action: Tensor) -> Step:
        raise self.fault

    fault: Exception = RuntimeError("motor 3\noverheated")


class Upwards:
    """An algorithm with one answer, which is right in worlds whose seed ends in 5 … 9."""

    stochastic = False

    def state_dict(self) -> Any:
        return {"learnt": "up"}

    def load_state_dict(self, state: Any) -> None:
        assert state == self.state_dict()

    def act(self, features: Any, normal: Any = None) -> Any:
        return torch.ones(len(features), 1)


def _parts(task: Guess) -> Parts:
    names: dict[str, Any] = dict.fromkeys(Settings.__dataclass_fields__, 1)
    settings = Settings(**{**names, "eval_episodes": 10, "test_seed": 20, "best_of": None, "plot": False})
    noise = RepeatNoise((2, 1), 1.0, None)
    return Parts(settings, task, Echo(), noise, NoiseActionEnv(task, Echo(), noise, horizon=2), Upwards())


def _saved(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.config.parent.mkdir(parents=True)
    folder.config.write_text("seed: 0\n")
    folder.save("best", {"learnt": "up"})
    return folder


def test_eval_pairs_with_the_base_and_says_all_that_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _saved(tmp_path)
    score = evaluate_run(_parts(Instructed(4)), folder, request_of(tmp_path, base=True), folder.load("best"), Screen())
    written = newest_evaluation(tmp_path)
    assert score == written["result"]["success_rate"] == 0.5
    assert written["failures"] == [20, 21, 22, 23, 24]
    rates = {text: numbers["success_rate"] for text, numbers in written["by_instruction"].items()}
    assert rates == {"go down": 0.0, "go up": 1.0}
    base = evaluate(_parts(Instructed(4)).env, base_noise((2, 1)), episodes=10, first_seed=20)
    assert written["base"] == summary(base)
    assert sum(written["paired"][outcome] for outcome in ("both", "only_steered", "only_base", "neither")) == 10
    assert written["request"]["test_seed"] == 20
    assert written["config"] == "seed: 0\n"
    assert written["policy_sha256"] == "0" * 64
    assert len(written["checkpoint_sha256"]) == 2
    assert written["packages"]["torch"]
    assert written["environment"]["python"]
    said = capsys.readouterr().out
    assert "failed worlds (5): 20, 21, 22, 23, 24" in said
    assert f"python eval.py run={tmp_path} video_seeds=20" in said
    assert "go down" in said
    assert "exact McNemar" in said


def test_the_command_of_a_video_names_the_plugins_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = _saved(tmp_path).load("best")
    folder = RunFolder(tmp_path, plugins=["my_robot", "other"])
    evaluate_run(_parts(Instructed(4)), folder, request_of(tmp_path), state, Screen())
    assert f"python eval.py run={tmp_path} 'plugins=[my_robot,other]' video_seeds=20" in capsys.readouterr().out


def test_the_command_of_a_video_plays_the_policy_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _saved(tmp_path)
    request = request_of(tmp_path, checkpoint="last", stochastic=True)
    evaluate_run(_parts(Instructed(4)), folder, request, folder.load("best"), Screen())
    said = capsys.readouterr().out
    assert f"python eval.py run={tmp_path} checkpoint=last stochastic=true video_seeds=" in said


@pytest.mark.parametrize("state", [{"learnt": "up"}, None], ids=["beside the base", "the base alone"])
def test_a_world_is_recorded_by_its_seed(state: Any, tmp_path: Path) -> None:
    folder = _saved(tmp_path)
    score = evaluate_run(_parts(Instructed(4)), folder, request_of(tmp_path, video_seeds=[23, 28]), state, Screen())
    (out,) = (tmp_path / "eval").iterdir()
    assert not (out / "eval.json").exists()
    for seed in (23, 28):
        with av.open(str(out / f"world_{seed}.mp4")) as container:
            assert container.streams.video[0].width == (424 if state is None else 2 * 424)
    if state is not None:
        assert score == 0.5  # 23 hides "down", 28 "up"


def test_a_video_needs_pictures(tmp_path: Path) -> None:
    task = Guess(2)
    task.cameras = {}
    with pytest.raises(ValueError, match="video_seeds needs a task with a camera"):
        evaluate_run(_parts(task), _saved(tmp_path), request_of(tmp_path, video_seeds=[3]), None, Screen())


def test_instructions_follow_their_worlds_through_all_batches() -> None:
    task = Instructed(3)
    env = NoiseActionEnv(task, Echo(), RepeatNoise((2, 1), 1.0, None), horizon=2)
    result = evaluate(env, lambda encoding, seeds, decision: _ones(len(seeds)), episodes=7, first_seed=2)
    assert result.instructions == ("go down",) * 3 + ("go up",) * 4
    assert result.failures == (2, 3, 4)
    assert [numbers["episodes"] for numbers in by_instruction(result).values()] == [3, 4]


def test_several_runs_are_named_by_a_list_or_a_glob(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        _saved(tmp_path / "sweep" / name)
    (tmp_path / "sweep" / "compare").mkdir()

    def requested(run: Any) -> list[str]:
        return [Path(request.run).name for request in requests(options_of(run=run))]

    assert requested(f"{tmp_path}/sweep/*") == ["a", "b", "c"]
    assert requested([f"{tmp_path}/sweep/c", f"{tmp_path}/sweep/*"]) == ["c", "a", "b"]
    assert requests(options_of(run="x,y", video_seeds=7))[1] == request_of(
        Path("y"), video_seeds=[7], checkpoint="returned"
    )
    with pytest.raises(FileNotFoundError, match="matches no folder"):
        requested(f"{tmp_path}/nowhere/*")
    with pytest.raises(ValueError, match="names no world"):
        requests(options_of(run="x", video_seeds=[]))


SEED = "which must be a whole number between 0 and 4294967295"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"run": None}, "run=null names no run; type run=<folder of a run>"),
    ({"run": []}, "run=[] names no run; type run=<folder of a run>, or several as run=[a,b]"),
    ({"out": "???"}, "out=??? names no folder; type out=<folder>, or leave it out"),
    ({"foo": 1}, "foo is no option; python eval.py --help lists all"),
    ({"video_seeds": -1}, f"video_seeds=[-1] has -1, {SEED}"),
    ({"video_seeds": [1, None]}, f"video_seeds=[1,null] has null, {SEED}"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=lambda part: str(part)[:20])
def test_an_option_that_cannot_work_is_refused_with_what_would(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        requests(options_of(**{"run": "x", **options}))


@pytest.mark.parametrize("key", ["base", "video_seeds", "out"])
def test_an_option_that_was_deleted_is_missed(key: str) -> None:
    options = options_of(run="x")
    del options[key]
    with pytest.raises(ValueError, match=f"^{key} is missing; leave ~{key} out$"):
        requests(options)


def test_many_runs_end_in_one_table(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for path in folders:
        folder = _saved(path)
        request = request_of(path, base=True)
        evaluate_run(_parts(Instructed(4)), folder, request, folder.load("best"), Screen())
    table = report.runs_table(folders, [next((path / "eval").iterdir()) for path in folders])
    assert table.row_count == 2
    assert list(table.columns[1].cells) == ["50.0%", "50.0%"]


def test_a_run_that_fails_says_so_in_its_folder_until_it_is_run_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(FloatingPointError), folder.noting_failure():
        raise FloatingPointError("reward of world [3]\nis not finite")
    first, *rest = folder.failure.read_text().splitlines()
    assert first == "FloatingPointError: reward of world [3] is not finite"
    assert any("Traceback" in line for line in rest)
    folder.write_configs({"config.yaml": "seed: 0\n"})  # a run begins
    assert not folder.failure.exists()


@pytest.mark.parametrize("options", [{}, {"video_seeds": [23]}], ids=["scores", "a video"])
def test_a_task_that_fails_is_one_sentence_with_the_traceback_in_the_folder(
    options: dict[str, Any], tmp_path: Path
) -> None:
    folder, note = _saved(tmp_path / "run"), tmp_path / "eval_failure.txt"
    request, state = request_of(folder.path, **options), folder.load("best")
    with pytest.raises(UserError) as raised:
        evaluate_run(_parts(Overheating(2)), folder, request, state, Screen(), tmp_path)
    assert (
        str(raised.value) == f"RuntimeError: motor 3 overheated (where: {note}); mend that, then type the command again"
    )
    first, *rest = note.read_text().splitlines()
    assert first == "RuntimeError: motor 3 overheated"
    assert "    raise self.fault" in rest
    evaluate_run(_parts(Instructed(2)), folder, request, state, Screen(), tmp_path)
    assert not note.exists()


def test_an_evaluation_without_room_for_its_result_names_the_file(tmp_path: Path) -> None:
    task = Overheating(2)
    task.fault = OSError(errno.ENOSPC, "No space left on device", "eval.json")
    with pytest.raises(UserError, match=r"^eval.json cannot be read or written \(No space .*\); make room, then type"):
        evaluate_run(_parts(task), _saved(tmp_path), request_of(tmp_path), None, Screen())


def _ones(num: int) -> Tensor:
    return torch.ones(num, 2, 1)


def test_an_evaluation_goes_where_out_says_and_leaves_the_run_alone(tmp_path: Path) -> None:
    folder, out = _saved(tmp_path / "run"), tmp_path / "mine"
    out.mkdir()
    evaluate_run(_parts(Instructed(4)), folder, request_of(folder.path), folder.load("best"), Screen(), out)
    assert (out / "eval.json").is_file()
    assert not folder.evaluations.exists()


def test_a_result_is_written_before_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _saved(tmp_path / "run")
    monkeypatch.delattr(report, "summary_table")
    with pytest.raises(UserError, match="summary_table"):
        evaluate_run(_parts(Instructed(4)), folder, request_of(folder.path), folder.load("best"), Screen(), tmp_path)
    assert (tmp_path / "eval.json").is_file()


@pytest.mark.parametrize(("first", "shared"), [(1, 1), (0, 1), (2, 0)])
def test_worlds_that_chose_the_checkpoint_are_named(
    first: int, shared: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, folder = _parts(Instructed(4, max_steps=2)), _saved(tmp_path)  # validated and confirmed in world 1 alone
    evaluate_run(parts, folder, request_of(folder.path, test_seed=first, eval_episodes=4), {"learnt": "up"}, Screen())
    shown = capsys.readouterr().out
    for chose in (
        "validation worlds, which chose the checkpoint",
        "confirmation worlds, which chose the policy that is",
    ):
        assert (f"1 of these 4 worlds are {chose}" in shown) is bool(shared)
