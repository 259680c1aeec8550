"""Scripts that play any environment end in one sentence where it fails, and write the traceback to a file."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from toys.mlp_checkpoints import make_mlp_checkpoint
from toys.odd_worlds import ID

from scripts import collect_rollouts
from scripts.preflight import __main__ as preflight

NOTES: dict[Callable[[Sequence[str]], None], str] = {
    preflight.main: "out/preflight_failure.txt",
    collect_rollouts.main: "out_failure.txt",
}
ODD = (
    (
        "fails: exploded",
        f"FailedError: task.id={ID} raised in step (RuntimeError [31mexploded, toys/odd_worlds.py",
    ),
    ("reward: nan", "FloatingPointError: reward of world [0, 1] is not finite; check the reward"),
    ("reward: -inf", "FloatingPointError: reward of world [0, 1] is not finite; check the reward"),
    ("state: nan", "FloatingPointError: features of world [0, 1] is not finite; check the task's state"),
    ("later: 0.3", f"SuccessError: task.id={ID} reports is_success=0.3 in its info"),
    ("numbers: 2", f"ValueError: task.id={ID} returned an observation of 2 numbers"),
)


def _typed(folder: Path, odd: str) -> list[str]:
    policy = make_mlp_checkpoint(folder / "policy", "flow_mlp")
    chosen = [f"policy.path={policy}", "policy=flow_mlp", "noise=full", "num_envs=2", "validation_episodes=2"]
    return ["--out", str(folder / "data" / "out"), "task=gym", f"task.id={ID}", *chosen, f"task.env_kwargs={{{odd}}}"]


@pytest.mark.parametrize("main", NOTES)
@pytest.mark.parametrize(("odd", "sentence"), ODD, ids=[odd for odd, _ in ODD])
def test_an_environment_that_fails_ends_a_script_in_one_sentence(
    odd: str, sentence: str, main: Callable[[Sequence[str]], None], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(_typed(tmp_path, odd))
    note, ending = tmp_path / "data" / NOTES[main], str(ended.value)
    assert ending.startswith(f"error: {sentence.partition(' ')[0]}")
    assert sentence in " ".join(ending.split())
    assert ending.isprintable()
    assert ending.endswith(f"(where: {note}); mend that, then type the command again")
    assert "Traceback" in note.read_text()
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data" / NOTES[main].split("/")[0]]


@pytest.mark.parametrize(
    ("owner", "name", "call", "done", "number"),
    [
        (collect_rollouts, "rows_of", 1, 2, signal.SIGINT),
        (collect_rollouts.RecordingTask, "step", 50, 4, signal.SIGTERM),  # episodes have 20 steps
    ],
    ids=["while it writes", "while it plays"],
)
def test_rollouts_before_a_signal_are_a_dataset_of_whole_episodes(
    owner: Any,
    name: str,
    call: int,
    done: int,
    number: signal.Signals,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, work = iter(range(1000)), getattr(owner, name)

    def interrupted(*arguments: Any) -> Any:
        if next(count) == call:
            signal.raise_signal(number)
        return work(*arguments)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(SystemExit) as ended:
        collect_rollouts.main([*_typed(tmp_path, ""), "--episodes", "7"])
    assert ended.value.code == 128 + number
    out = tmp_path / "data" / "out"
    assert list(out.parent.iterdir()) == [out]  # without a note of a failure
    assert f"{done} of 7 episodes were recorded before the stop, in {out}" in capsys.readouterr().out
    assert json.loads((out / "meta" / "info.json").read_text())["total_episodes"] == done


def test_rollouts_before_a_failure_are_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="RuntimeError"):
        collect_rollouts.main([*_typed(tmp_path, "fails: exploded, resets: 3"), "--episodes", "7"])
    out = tmp_path / "data" / "out"
    assert f"4 of 7 episodes were recorded before the failure, in {out}" in capsys.readouterr().out
    info = json.loads((out / "meta" / "info.json").read_text())
    assert (info["total_episodes"], info["fps"]) == (4, 25)  # as the environment declares
    assert (tmp_path / "data" / "out_failure.txt").is_file()
