"""A run that is interrupted anywhere ends with the weights, metrics and numbers of one that is not."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from toys.guess import Guess
from toys.options import OPTIONS
from toys.runs import Killed, RestorableGuess, results, run, short_parts
from toys.typed import digests

from dsrl.run import resume
from dsrl.run import train as workflow
from dsrl.run.monitor import Monitor
from dsrl.run.resume import Checkpointer
from dsrl.run.saved.checkpoint import DamagedError, read_checkpoint, write_checkpoint
from dsrl.run.saved.digests import same_values
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.signals import Signals, Stopped


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that gives the folder of an undisturbed run of an algorithm; each is run once."""

    @cache
    def folder_of(algorithm: str, task: type[Guess] = Guess) -> Path:
        folder = tmp_path_factory.mktemp(algorithm)
        run(folder, short_parts(algorithm, task))
        return folder

    return folder_of


@pytest.fixture(scope="module")
def whole(played: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """Return a function that gives the results of an undisturbed run of an algorithm."""
    return lambda *algorithm_and_task: results(played(*algorithm_and_task))


@pytest.fixture
def ended(played: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a copy of the folder of an undisturbed run of DSRL-SAC."""
    return Path(shutil.copytree(played("dsrl_sac"), tmp_path / "ended"))


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_a_run_killed_at_every_checkpoint_ends_like_one_that_is_not(
    algorithm: str, tmp_path: Path, killed: Callable[[int, str], None], whole: Callable[..., dict[str, Any]]
) -> None:
    undisturbed = whole(algorithm)
    killed(1, "before")
    with pytest.raises(Killed):
        run(tmp_path / "cut", short_parts(algorithm))
    starts, ended = 0, False
    while not ended:  # each process dies of the first checkpoint that it writes
        killed(1, "after")
        starts += 1
        try:
            run(tmp_path / "cut", short_parts(algorithm))
            ended = True
        except Killed:
            pass
    assert starts == {"golden_ticket": 3}.get(algorithm, 6)  # one is before the first validation, all others after one
    assert results(tmp_path / "cut") == undisturbed


@pytest.mark.parametrize("algorithm", ["dsrl_sac", "dsrl_na"])
def test_checkpoints_by_the_clock_lie_in_mid_episode_and_a_kill_loses_no_more_than_a_round(
    algorithm: str,
    tmp_path: Path,
    killed: Callable[[int, str], None],
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[..., dict[str, Any]],
) -> None:
    undisturbed, ended = whole(algorithm, RestorableGuess), False
    monkeypatch.setattr(resume, "LARGEST_SHARE", float("inf"))  # after every round
    while not ended:
        killed(7, "after")
        try:
            run(tmp_path / "cut", short_parts(algorithm, RestorableGuess), minutes=0.0)
            ended = True
        except Killed:
            newest = int(max(path.name for path in RunFolder(tmp_path / "cut").resume.iterdir()))
            assert newest % 4 == 0  # a round is a decision in each of 4 worlds
    assert newest == 108  # killed after 24 (after warm-up comes one more), 52, 80 and 108 of 120 decisions
    assert results(tmp_path / "cut") == undisturbed


def test_worlds_that_cannot_be_restored_get_checkpoints_by_the_clock_where_all_of_them_begin_new_episodes(
    tmp_path: Path,
    killed: Callable[[int, str], None],
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[..., dict[str, Any]],
) -> None:
    undisturbed = whole("dsrl_sac")
    monkeypatch.setattr(resume, "LARGEST_SHARE", float("inf"))
    killed(8, "after")
    with pytest.raises(Killed):
        run(tmp_path, short_parts("dsrl_sac"), minutes=0.0)
    found = sorted(RunFolder(tmp_path).resume.iterdir())
    assert {"000000020", "000000040", "000000080"} < {path.name for path in found}  # after warm-up and validations
    worlds = [read_checkpoint(path)["loop"]["env"]["worlds"] for path in found]
    assert all(one["task"] is None for one in worlds)  # a seed determines each
    assert len(worlds) < 20  # not every round
    killed(-1, "after")
    run(tmp_path, short_parts("dsrl_sac"))
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize("stop", [True, False])
def test_a_collapse_is_reported_and_stops_training_as_in_a_run_that_was_not_killed(
    stop: bool, tmp_path: Path, killed: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Monitor.validate

    def fading(self: Monitor, counters: Any) -> Any:
        result, solved = validate(self, counters), len(self.curve) <= 2
        scripted = replace(result, successes=(solved,) * len(result.seeds))
        self.curve[-1] = replace(self.curve[-1], evaluation=scripted)
        return scripted

    monkeypatch.setattr(Monitor, "validate", fading)

    def parts() -> Any:
        parts = short_parts("dsrl_sac")
        return replace(parts, settings=replace(parts.settings, stop_on_collapse=stop))

    run(tmp_path / "whole", parts())
    for nth in (1, 1, -1):
        killed(nth, "after")
        try:
            run(tmp_path / "cut", parts())
        except Killed:
            assert nth == 1
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    summary = results(tmp_path / "cut")["summary"]
    assert summary["collapse"].startswith("training has collapsed: validation success is 0%")
    assert summary["decisions"] == (80 if stop else 120)


def requested_after(rounds: int, monkeypatch: pytest.MonkeyPatch) -> Signals:
    """Return signals that request the run to stop in the given round of play."""
    signals, save_if_due, count = Signals(), Checkpointer.save_if_due, iter(range(1, 1000))

    def requesting(self: Checkpointer, state: Any, decisions: int, updates: int = 0) -> None:
        if next(count) == rounds:
            self.signals.requested = signal.SIGTERM
        save_if_due(self, state, decisions, updates)

    monkeypatch.setattr(Checkpointer, "save_if_due", requesting)
    return signals


@pytest.mark.parametrize(
    ("algorithm", "rounds"),
    [("dsrl_na", 2), ("dsrl_na", 5), ("dsrl_na", 8), ("dsrl_na", 13), ("dsrl_sac", 13)],  # 5 rounds of warm-up
)
def test_a_signal_stops_a_run_in_mid_episode_and_nothing_is_lost(
    algorithm: str,
    rounds: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[..., dict[str, Any]],
) -> None:
    undisturbed = whole(algorithm, RestorableGuess)
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        run(tmp_path / "cut", short_parts(algorithm, RestorableGuess), requested_after(rounds, patch))
    assert stopped.value.code == 128 + signal.SIGTERM
    run(tmp_path / "cut", short_parts(algorithm, RestorableGuess))
    assert results(tmp_path / "cut") == undisturbed


def test_worlds_that_cannot_be_restored_begin_new_episodes_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            run(tmp_path / name, short_parts("dsrl_sac"), requested_after(13, patch))
        run(tmp_path / name, short_parts("dsrl_sac"))
    assert results(tmp_path / "one") == results(tmp_path / "two")
    assert results(tmp_path / "one")["summary"]["decisions"] == 120


def test_a_killed_run_whose_manifests_are_gone_is_not_started_over(
    tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    killed(3, "after")
    with pytest.raises(Killed):
        run(tmp_path, short_parts("dsrl_sac"))
    for manifest in RunFolder(tmp_path).resume.glob("*/manifest.json"):
        manifest.unlink()
    before = digests(tmp_path)
    with pytest.raises(DamagedError, match=r"none of the 2 checkpoints in .* is complete; restore one, or"):
        run(tmp_path, short_parts("dsrl_sac"))
    assert digests(tmp_path) == before


def test_another_run_is_continued_in_a_folder_of_its_own(
    tmp_path: Path, killed: Callable[[int, str], None], whole: Callable[..., dict[str, Any]]
) -> None:
    undisturbed = whole("dsrl_sac")
    killed(3, "after")
    with pytest.raises(Killed):
        run(tmp_path / "one", short_parts("dsrl_sac"))
    killed(-1, "after")
    run(tmp_path / "two", short_parts("dsrl_sac"), other=tmp_path / "one")
    assert results(tmp_path / "two") == undisturbed
    with pytest.raises(FileNotFoundError, match=r"resume=.*three has no checkpoint"):
        run(tmp_path / "four", short_parts("dsrl_sac"), other=tmp_path / "three")


CHANGES: list[tuple[str, Any, str]] = [  # keys of what is replaced in a state, by what, and words of the refusal
    ("loop algorithm _optimizers 0 state 0 exp_avg", torch.zeros(1), r"exp_avg of an optimiser has shape \[1\]"),
    ("loop buffer rows obs", torch.zeros(120, 99), r"obs of the checkpoint's replay has shape \[120, 99\]"),
    ("loop episodes counters decisions", -(10**6), "decisions is -1000000, not a whole number from 0"),
    ("loop episodes counters decisions", 40.5, "decisions is 40.5, not a whole number"),
    ("loop episodes counters decisions", 41, "its counters have 41 decisions, but the whole of it 40"),
    ("loop episodes counters episodes", "x", "episodes is 'x', not a whole number"),
    ("loop episodes counters env_steps", 10**300, "env_steps is a number of more than 60 digits, not a whole"),
    ("loop episodes returns", [float("nan")] * 4, "returns of episodes has nan"),
    ("loop validator best", float("nan"), "the best score is nan"),
    ("loop counts", [20, 0, -(10**12), 0], "learned is -1000000000000, not a whole"),
    ("run curve", 3, "TypeError"),
    ("run seconds", [float("nan"), 1.0], "seconds of the run has nan"),
    ("run seconds", [1e308, -1e308], r"seconds of the run has 1e\+308, not a number from 0"),
    ("run loggers", {"CsvLogger": 5}, "the rows of metrics.jsonl are of type int, not a list"),
    ("run best", {"weight": torch.zeros(10**7)}, "the best weights of the checkpoint does not fit the run's algorithm"),
]


def test_a_changed_checkpoint_of_another_run_is_refused_as_often_as_it_is_typed(
    tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    killed(3, "after")
    with pytest.raises(Killed):
        run(tmp_path / "one", short_parts("dsrl_sac"))
    killed(-1, "after")
    newest = max((tmp_path / "one" / "resume").iterdir())
    whole = read_checkpoint(newest)
    for keys, value, words in CHANGES:
        node = state = deepcopy(whole)
        *path, last = (int(key) if key.isdigit() else key for key in keys.split())
        for key in path:
            node = node[key]
        node[last] = value
        write_checkpoint(newest, state)
        for _ in range(2 if "exp_avg" in keys else 1):
            with pytest.raises(UserError, match=rf"one/resume cannot be restored \(.*{words}"):
                run(tmp_path / "two", short_parts("dsrl_sac"), other=tmp_path / "one")
            assert not list((tmp_path / "two" / "resume").glob("*"))


def test_the_base_policy_is_played_once(
    tmp_path: Path, killed: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(1, "before")
    with pytest.raises(Killed):
        run(tmp_path, short_parts("dsrl_sac"))
    killed(-1, "after")
    monkeypatch.setattr(workflow, "prior_noise", lambda noise, bound: pytest.fail("played again"))
    run(tmp_path, short_parts("dsrl_sac"))


BASES: list[tuple[str, Any]] = [  # what is replaced in base.json, "." for all results, and by what
    (".", None),
    (".", [1, 2]),
    ("base", 5),
    ("base.zz", [1]),
    ("base.returns", ["a"] * 20),
    ("base.returns", [float("nan")] * 20),
    ("base.returns", [1.0]),
    ("base.successes", None),
    ("base.seeds", [7] * 20),
]


def test_a_damaged_file_of_the_base_policy_is_played_again(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> None:  # after the base policy
        raise Killed

    whole = (ended / "base.json").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "build_loop", stop)
        for keys, value in BASES:
            content = json.loads(whole)
            node: Any = content
            *path, last = [key for key in f"results.{keys}".split(".") if key]
            for key in path:
                node = node[key]
            node[last] = value
            (ended / "base.json").write_text(json.dumps(content))
            with pytest.raises(Killed):
                run(ended, short_parts("dsrl_sac"))
            assert "base.json is damaged (" in capsys.readouterr().out
            assert (ended / "base.json").read_text() == whole


def test_a_checkpoint_of_something_else_is_refused(ended: Path) -> None:
    with pytest.raises(ValueError, match=r"seed=1 but the checkpoint in .* is of a run with seed=0; give it the same"):
        run(ended, replace(short_parts("dsrl_sac"), identity={"seed": 1}))


PARTS: list[dict[str, Any]] = [
    {"code": [1]},
    {"code": {"git_commit": 3}},
    {"identity": {"seed": 0, 1: 2}},
    {"decisions": -5},
    {"updates": -(10**9)},
]


@pytest.mark.parametrize("part", PARTS)
def test_a_checkpoint_with_parts_of_another_kind_is_refused(part: dict[str, Any], tmp_path: Path) -> None:
    state = {"identity": {"seed": 0}, "decisions": 1, "loop": {}, "run": {}}
    write_checkpoint(tmp_path / "resume" / "000000001", {**state, **part})
    with pytest.raises(ValueError, match=r"resume is not one that a run of train\.py writes; remove it"):
        Checkpointer(RunFolder(tmp_path), {"seed": 0}, Signals(), print, keep=1, minutes=None, other=None)


def taken(folder: Path, previous: dict[str, Any], now: dict[str, Any]) -> int | None:
    """Return the decisions of a checkpoint with the identity `previous`, which a run of the values `now` continues."""
    state = {"identity": previous, "decisions": 1, "updates": 0, "loop": {}, "run": {}}
    write_checkpoint(folder / "resume" / "000000001", state)
    return Checkpointer(RunFolder(folder), now, Signals(), print, keep=1, minutes=None, other=None).taken


def test_nan_is_the_same_value_when_it_is_typed_again(tmp_path: Path) -> None:
    before, again = ({"task.env_kwargs": {"fill": float("nan"), "sizes": [1, float("nan")]}} for _ in range(2))
    assert taken(tmp_path, before, again) == 1
    assert same_values(json.loads(json.dumps(before)), again)
    for other in ({"fill": 0.0, "sizes": [1, float("nan")]}, {"fill": float("nan"), "sizes": [1]}):
        with pytest.raises(ValueError, match=r"task.env_kwargs=.* but the checkpoint in"):
            taken(tmp_path, before, {"task.env_kwargs": other})
        assert not same_values(before, {"task.env_kwargs": other})


@pytest.mark.parametrize("key", ["policy_configuration_sha256", "policy_backbone_sha256"])
def test_a_digest_that_an_earlier_checkpoint_lacks_is_not_compared(key: str, tmp_path: Path) -> None:
    digest = {key: "1" * 64}
    assert taken(tmp_path, {"seed": 0}, {"seed": 0, **digest}) == 1
    assert same_values({"seed": 0}, {"seed": 0, **digest})
    for other in ({}, {key: "2" * 64}):
        with pytest.raises(ValueError, match=rf"{key}=.* but the checkpoint in"):
            taken(tmp_path, {"seed": 0, **digest}, {"seed": 0, **other})
        assert not same_values({"seed": 0, **digest}, {"seed": 0, **other})


def test_a_signal_is_handed_to_the_handler_that_was_there_before() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
    try:
        with pytest.raises(Stopped):
            _requested_and_stopped(seen)
        assert seen == [signal.SIGUSR2]
        signal.raise_signal(signal.SIGUSR2)
        assert len(seen) == 2
    finally:
        signal.signal(signal.SIGUSR2, before)


def _requested_and_stopped(seen: list[int]) -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGUSR2)
        assert not seen  # first to an end with the round
        signals.stop_if_requested()


@pytest.mark.parametrize(("sweep", "key"), [(False, "hydra.run.dir"), (True, "hydra.sweep.dir")])
def test_a_value_that_must_not_change_names_the_key_of_the_folder(sweep: bool, key: str, ended: Path) -> None:
    folder, other = RunFolder(ended, ended.parent if sweep else None), {"seed": 1}
    with pytest.raises(ValueError, match=f"give it the same value, or start a new run in another {key}"):
        Checkpointer(folder, other, Signals(), print, keep=1, minutes=None, other=None)


def test_a_value_that_must_not_change_names_the_file_of_what_was_typed_then(ended: Path) -> None:
    (ended / ".hydra").mkdir(exist_ok=True)
    (ended / ".hydra" / "overrides.yaml").write_text("- task=pendulum\n")
    with pytest.raises(ValueError, match=r"overrides\.yaml has all that was typed then\), or start a new run"):
        Checkpointer(RunFolder(ended), {"seed": 1}, Signals(), print, keep=1, minutes=None, other=None)
