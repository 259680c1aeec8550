"""Run folders whose config somebody changed, digests too: nothing of theirs runs; an evaluation, or one sentence."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys.mutations import changed
from toys.typed import type_eval, type_train
from toys.watched import watched

CASES = 16  # changed values of each config
KEYS: dict[str, Any] = {
    "_target_": "planted.Step",
    "_partial_": False,
    "_convert_": "planted",
    "_recursive_": False,
    "hydra": {"run": {"dir": "/etc"}},
    "path": "../secret",
}
TOLD: dict[str, tuple[str, dict[str, Any], str]] = {  # group, changed values (... for none), words of the sentence
    "critics": ("sac", {"num_critics": 10**9}, "sac.num_critics=1000000000 must be between 1 and 1000"),
    "layers": ("sac", {"hidden": 65536, "depth": 100}, "GiB are free; type smaller ones"),
    "a long number": ("", {"utd": 10**400}, "config.yaml is damaged (it has a number of more than 300 digits)"),
    "success": ("", {"success_share": 0.5}, "type success_share=null"),
    "terminal": ("", {"gamma": "0.9\x1b]52;c;cGxhbnRlZA==\x07"}, "gamma=0.9 ]52;c;cGxhbnRlZA== must be a number"),
    "plugin": ("", {"plugins": "planted\x1b"}, "was made with plugins=[planted ], whose code would run"),
    "plugins": ("", {"plugins": ["planted"]}, "was made with plugins=[planted], whose code would run"),
    "file": ("task", {"env_kwargs": {"x": [{"f": "/a/b.xml"}]}}, "type 'files=[/a/b.xml]'"),
    "file in the folder": ("task", {"env_kwargs": {"f": "b.xml"}}, "has 'b.xml' in task.env_kwargs"),
    "number": ("task", {"env_kwargs": {"frame_skip": [10**9]}}, 'files=["1000000000"]'),
    "file by reference": ("task", {"env_kwargs": {"f": "${task.id}"}, "id": "~/b"}, "has '~/b' in task.env_kwargs"),
    "noise": ("noise", {"_target_": "planted.Step"}, "noise._target_ is 'planted.Step'"),
    "task": ("task", {"_target_": "dsrl.task.lerobot.LerobotTask", "instruction": ...}, "task.env is missing and"),
    "option": ("task", {"_target_": "dsrl.task.lerobot.LerobotTask"}, "task.instruction is no option"),
}


@pytest.fixture(scope="module", params=["dsrl_sac", "dsrl_edit", "dsrl_select", "golden_ticket"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run of each algorithm whose options differ."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    search = ("sac.candidates=2", "decisions=80") if request.param == "golden_ticket" else ()
    assert type_train(folder, f"sac={request.param}", "success_share=null", *search) is None
    return folder


@pytest.fixture
def sent(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the run in a working directory with importable planted code, which must not run."""
    canary = tmp_path / "canary"
    (tmp_path / "planted.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n\nclass Step:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield Path(shutil.copytree(base, tmp_path / "run"))
    assert not canary.exists()


def _send(run: Path, content: Any) -> None:
    """Write another config into a run, with the digests that its checkpoints note of it."""
    for name in (".hydra/config.yaml", "checkpoints/config.yaml"):
        (run / name).write_text(yaml.safe_dump(content))
    digest = hashlib.sha256((run / "checkpoints/config.yaml").read_bytes()).hexdigest()
    for manifest in run.glob("checkpoints/*/manifest.json"):
        noted = json.loads(manifest.read_text())
        noted["notes"]["config_sha256"] = digest
        manifest.write_text(json.dumps(noted))


def _evaluate(run: Path) -> str | None:
    """Return the sentence that refuses the evaluation of a run, None after one."""
    with watched(run) as outside:
        ending = type_eval(f"run={run}", "eval_episodes=2")
    assert set(outside) <= {"subprocess.Popen git"}  # in our own clone, for provenance
    assert ending is None or (isinstance(ending, str) and ending.startswith("error: ") and ending.isprintable())
    return ending


def test_a_changed_value_anywhere_is_played_or_refused_in_one_sentence(sent: Path) -> None:
    text = (sent / "checkpoints/config.yaml").read_text()
    draw = random.Random(yaml.safe_load(text)["sac"]["_target_"])
    assert _evaluate(sent) is None
    for _ in range(CASES):
        content, case = changed(yaml.safe_load(text), KEYS, draw)
        _send(sent, content)
        try:
            _evaluate(sent)
        except Exception as error:
            raise AssertionError(case) from error


@pytest.mark.parametrize("change", TOLD)
def test_what_a_changed_config_would_do_is_told(change: str, run: Path) -> None:
    content = yaml.safe_load((run / "checkpoints/config.yaml").read_text())
    group, values, words = TOLD[change]
    part = content[group] if group else content
    part.update(values)
    for key in [key for key, value in part.items() if value is ...]:
        del part[key]
    _send(run, content)
    ending = _evaluate(run)
    assert ending is not None
    assert words in ending


def test_files_of_an_environment_that_are_typed_again_may_be_opened(run: Path) -> None:
    content = yaml.safe_load((run / "checkpoints/config.yaml").read_text())
    content["task"]["env_kwargs"] = {"file": "a/b.xml", "version": "v0.5", "n": 10**6, "m": 10**4}
    _send(run, content)
    ending = type_eval(f"run={run}", "files=[a/b.xml,1000000]", "eval_episodes=1")
    assert isinstance(ending, str)
    assert "unexpected keyword argument" in ending


@pytest.mark.parametrize("place", ["../..", "/etc", "owner/name", "https://planted.invalid/data"])
def test_an_evaluation_does_not_open_the_data_that_a_config_names(place: str, run: Path) -> None:
    content = yaml.safe_load((run / "checkpoints/config.yaml").read_text())
    content |= {"offline_data": place, "offline_share": 0.5, "offline_cloning_updates": 10}
    _send(run, content)
    assert _evaluate(run) is None


def test_numbers_of_a_changed_summary_are_not_logged(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for value in ("planted", -1, 10**400, [1], float("nan")):
        summary |= {"env_steps": value, "noise_choice": value}
        (run / "summary.json").write_text(json.dumps(summary))
        assert type_eval(f"run={run}", "eval_episodes=1", "logging=csv") is None
        newest = max(run.glob("eval/*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        assert json.loads(newest.read_text())["env_steps"] == 0


def test_a_config_that_does_not_say_partial_is_built_as_any_other(run: Path) -> None:
    content = yaml.safe_load((run / "checkpoints/config.yaml").read_text())
    for group in ("noise", "sac"):
        content[group]["_partial_"] = None
    _send(run, content)
    assert _evaluate(run) is None
