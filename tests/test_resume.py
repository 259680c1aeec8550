"""A run that is interrupted anywhere ends with the weights, metrics and figures of one that is not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_workflow import SAC, _parts
from torch import Tensor
from toys import Guess

from dsrl import workflow
from dsrl.checkpoint import Checkpoints
from dsrl.experiment import Parts
from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.preemption import Signals, Stopped
from dsrl.progress import Screen
from dsrl.resume import Continuation
from dsrl.run import RunFolder
from dsrl.sac.dsrl_na import build_dsrl_na
from dsrl.sac.golden_ticket import build_golden_ticket


class Told(Guess):
    """The toy, with worlds that can be told in mid-episode."""

    def state(self) -> dict[str, Tensor]:
        return {"target": self.target.clone(), "elapsed": self.elapsed.clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        self.target, self.elapsed = state["target"].clone(), state["elapsed"].clone()


def parts_of(algorithm: str, task: type[Guess] = Guess) -> Parts:
    parts = _parts()
    env = NoiseActionEnv(task(4, max_steps=6), parts.policy, parts.noise, horizon=2)
    spaces = env.observation_space, env.action_space

    def make_algorithm() -> Any:
        torch.manual_seed(0)
        if algorithm == "golden_ticket":
            return build_golden_ticket(*spaces, candidates=4)
        options = {"decoder": env.decode, "chunk_shape": env.chunk_shape, "replay": "context"}
        return build_dsrl_na(*spaces, **(SAC | {"alpha": "auto"}), **options, noise_critic_grad_steps=2)

    build = parts.make_algorithm if algorithm == "sac" else make_algorithm
    settings = replace(parts.settings, decisions=120, warmup_decisions=20, eval_every=40, video_episodes=0)
    return replace(parts, settings=settings, task=env.task, env=env, make_algorithm=build, identity={"seed": 0})


def run(folder: Path, parts: Parts, signals: Signals | None = None, other: Path | None = None) -> None:
    run_folder, screen = RunFolder(folder), Screen()
    folder.mkdir(exist_ok=True)
    loggers = [CsvLogger(str(folder)), TensorBoardLogger(str(folder))]
    thread = workflow.make_thread(parts, run_folder, screen, signals or Signals(), keep=9, other=other)
    workflow.train(parts, run_folder, loggers, screen, thread)


def told(folder: Path) -> dict[str, Any]:
    """All results in a folder that do not depend on the clock."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for figures in (summary, *rows):
        figures.pop("wall_time_s", None)
    summary.pop("setup_time_s")
    manifests = {name: RunFolder(folder).checkpoint_sha256(name) for name in ("best", "last")}
    table = (folder / "metrics.csv").read_text().splitlines()
    return {"summary": summary, "rows": rows, "checkpoints": manifests, "table": (table[0], len(table))}


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than the runs."""
    monkeypatch.setattr(workflow.report, "draw_learning_curve", lambda *_: None)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Arms a kill right before or after the n-th checkpoint of the next run."""
    save = Checkpoints.save

    def arm(nth: int, when: str) -> None:
        count = iter(range(1, 1000))

        def fatal(self: Checkpoints, number: int, tree: Any) -> None:
            last = next(count) == nth
            if last and when == "before":
                raise Killed
            save(self, number, tree)
            if last:
                raise Killed

        monkeypatch.setattr(Checkpoints, "save", fatal)

    return arm


@pytest.mark.parametrize("algorithm", ["sac", "na", "golden_ticket"])
def test_a_run_killed_at_every_checkpoint_ends_like_one_that_is_not(
    algorithm: str, tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    run(tmp_path / "whole", parts_of(algorithm))
    killed(1, "before")
    with pytest.raises(Killed):
        run(tmp_path / "cut", parts_of(algorithm))
    starts, ended = 0, False
    while not ended:  # each process dies of the first checkpoint that it writes
        killed(1, "after")
        starts += 1
        try:
            run(tmp_path / "cut", parts_of(algorithm))
            ended = True
        except Killed:
            pass
    assert starts == {"golden_ticket": 3}.get(algorithm, 5)
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


def asked_after(rounds: int, monkeypatch: pytest.MonkeyPatch) -> Signals:
    """Signals that ask the run to stop in the given round of play."""
    signals, pause, count = Signals(), Continuation.pause, iter(range(1, 1000))

    def asking(self: Continuation, take: Any, decisions: int) -> None:
        if next(count) == rounds:
            self.signals.asked = signal.SIGTERM
        pause(self, take, decisions)

    monkeypatch.setattr(Continuation, "pause", asking)
    return signals


@pytest.mark.parametrize("rounds", [2, 5, 8, 13])
@pytest.mark.parametrize("algorithm", ["sac", "na"])
def test_a_signal_stops_a_run_in_mid_episode_and_nothing_is_lost(
    algorithm: str, rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", parts_of(algorithm, Told))
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        run(tmp_path / "cut", parts_of(algorithm, Told), asked_after(rounds, patch))
    assert stopped.value.code == 128 + signal.SIGTERM
    run(tmp_path / "cut", parts_of(algorithm, Told))
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


def test_worlds_that_cannot_be_told_begin_new_episodes_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            run(tmp_path / name, parts_of("sac"), asked_after(13, patch))
        run(tmp_path / name, parts_of("sac"))
    assert told(tmp_path / "one") == told(tmp_path / "two")
    assert told(tmp_path / "one")["summary"]["decisions"] == 120


def test_another_run_is_continued_in_a_folder_of_its_own(tmp_path: Path, killed: Callable[[int, str], None]) -> None:
    run(tmp_path / "whole", parts_of("sac"))
    killed(2, "after")
    with pytest.raises(Killed):
        run(tmp_path / "one", parts_of("sac"))
    killed(-1, "after")
    run(tmp_path / "two", parts_of("sac"), other=tmp_path / "one")
    assert told(tmp_path / "two") == told(tmp_path / "whole")
    with pytest.raises(FileNotFoundError, match=r"resume=.*three holds no checkpoint"):
        run(tmp_path / "four", parts_of("sac"), other=tmp_path / "three")


def test_the_base_policy_is_played_once(
    tmp_path: Path, killed: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(1, "before")
    with pytest.raises(Killed):
        run(tmp_path, parts_of("sac"))
    killed(-1, "after")
    monkeypatch.setattr(workflow, "prior_noise", lambda noise, bounded: pytest.fail("played again"))
    run(tmp_path, parts_of("sac"))


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    run(tmp_path, parts_of("sac"))
    with pytest.raises(ValueError, match=r"seed is 1 but the checkpoint in .* is of a run with 0; give it the same"):
        run(tmp_path, replace(parts_of("sac"), identity={"seed": 1}))


def test_a_signal_is_handed_to_the_handler_that_was_there_before() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
    try:
        with pytest.raises(Stopped):
            _asked_and_stopped(seen)
        assert seen == [signal.SIGUSR2]
        signal.raise_signal(signal.SIGUSR2)
        assert len(seen) == 2
    finally:
        signal.signal(signal.SIGUSR2, before)


def _asked_and_stopped(seen: list[int]) -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGUSR2)
        assert not seen  # first to an end with the round
        signals.stop_if_asked()
