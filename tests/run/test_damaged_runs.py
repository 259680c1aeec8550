"""eval.py and resume= on damaged and foreign run folders: one sentence each, soon, nothing executed or looked up."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from toys.typed import digests, type_eval, type_train

from dsrl.logging.csv import CsvLogger
from dsrl.run.saved.plain_yaml import check_references

SECRET = "a-secret-of-the-user"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSRL_SECRET", SECRET)


def _refused(ending: str | int | None, begin: float) -> str:
    assert isinstance(ending, str), ending
    assert ending.startswith("error: ")
    assert "\n" not in ending
    assert len(ending) < 1000
    assert SECRET not in ending
    assert time.monotonic() - begin < 10
    return ending


def _set(key: str, value: str) -> Callable[[str], str]:
    """Return an edit of a config: the first line of a key gets another value."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        lines[at] = lines[at].partition(":")[0] + f": {value}"
        return "\n".join(lines) + "\n"

    return edit


CONFIGS: dict[str, Callable[[str], str | bytes]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 3],
    "cut in a key": lambda text: text[: text.index("batch_size") + 4],
    "binary": lambda text: bytes(range(256)) * 20,
    "zeros": lambda text: b"\0" * 4096,
    "utf-16": lambda text: text.encode("utf-16"),
    "a list": lambda text: "- 1\n- 2\n",
    "a word": lambda text: "hello\n",
    "a number": lambda text: "3\n",
    "other keys": lambda text: "a: 1\n",
    "unclosed": lambda text: text + "x: [1, 2\n",
    "tabs": lambda text: text + "\tx: 1\n",
    "twice": lambda text: text + "seed: 1\n",
    "bomb": lambda text: text + BOMB,
    "bomb instead of a group": lambda text: BOMB + "task: *i\npolicy: *i\nnoise: *i\nsac: *i\nlogging: *i\n",
    "merge": lambda text: text + "x: &x {a: 1}\ny:\n  <<: *x\n",
    "deep": lambda text: text + "x: " + "[" * 10_000 + "]" * 10_000 + "\n",
    "deep mappings": lambda text: text + "x: " + "{a: " * 10_000 + "1" + "}" * 10_000 + "\n",
    "large": lambda text: text + "x: " + "y" * 2**20 + "\n",
    "number that no float holds": _set("gamma", "1:" * 300 + "1.5"),
    "number of a million digits": lambda text: text + "x: " + "9" * 100_000 + "\n",
    "python object": lambda text: text + "x: !!python/object/apply:os.mkdir ['{sign}']\n",
    "python name": lambda text: text + "x: !!python/name:os.system\n",
    "python path": lambda text: text + "x: !!python/object/apply:pathlib.PosixPath [/etc]\n",
    "environment": _set("seed", "${oc.env:DSRL_SECRET}"),
    "environment in a group": _set("max_steps", "${oc.env:DSRL_SECRET}"),
    "environment with a default": _set("max_steps", "${oc.env:NOT_THERE,10}"),
    "environment in text": _set("id", "'x${oc.env:DSRL_SECRET}'"),
    "environment in a logger": _set("folder", "'${oc.env:DSRL_SECRET}'"),
    "environment nested": _set("id", "'${oc.decode:${oc.env:DSRL_SECRET}}'"),
    "environment escaped": _set("id", "'\\${oc.env:DSRL_SECRET}'"),
    "through another key": lambda text: _set("id", "${x}")(text) + "x: ${oc.env:DSRL_SECRET}\n",
    "of hydra": _set("id", "${hydra:runtime.cwd}"),
    "to itself": _set("seed", "${seed}"),
    "in a circle": lambda text: _set("seed", "${x}")(text) + "x: ${seed}\n",
    "to a group": _set("id", "${sac}"),
    "to nothing": _set("id", "${nowhere}"),
    "to nothing in a group": _set("id", "${task.nowhere}"),
    "to many values": _set("id", "'" + 5 * "${seed}" + "'"),
    "to a long value": lambda text: _set("id", "${x}")(text) + "x: " + "y" * 5000 + "\n",
    "unclosed reference": _set("id", "'${seed'"),
    "other target": _set("_target_", "os.system"),
    "target of another package": _set("_target_", "subprocess.Popen"),
    "open": _set("seed", "???"),
    "text for a number": _set("num_envs", "many"),
    "negative": _set("num_envs", "-1"),
    "not a number": _set("utd", ".nan"),
    "changed value": _set("eval_episodes", "6"),
    "a group that is text": lambda text: text.replace("noise:\n", "noise: x\nrest:\n"),
    "numbers as keys": lambda text: text + "1: 2\n3.5: 4\nnull: 5\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_damaged_config_is_one_sentence(name: str, run: Path, tmp_path: Path) -> None:
    config = run / "checkpoints" / "config.yaml"
    damaged = CONFIGS[name](config.read_text())
    sign = tmp_path / "sign"
    config.write_bytes(damaged if isinstance(damaged, bytes) else damaged.replace("{sign}", str(sign)).encode())
    before, begin = digests(run), time.monotonic()
    _refused(type_eval(f"run={run}"), begin)
    if name not in ("changed value", "numbers as keys", "negative", "open", "text for a number", "not a number"):
        begin = time.monotonic()
        type_train(tmp_path / "other", f"resume={run}", "decisions=122")
        assert time.monotonic() - begin < 10
    assert digests(run) == before
    assert not sign.exists()


def _sealed(folder: Path, suffix: str, content: bytes) -> None:
    """Replace a file of a checkpoint, manifest included, as somebody would who knows the format."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (old,) = [name for name in manifest["files"] if name.endswith(suffix)]
    digest = hashlib.sha256(content).hexdigest()
    (folder / old).unlink()
    (folder / f"{digest[:16]}{suffix}").write_bytes(content)
    del manifest["files"][old]
    manifest["files"][f"{digest[:16]}{suffix}"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))


MANIFESTS = {
    "empty": "",
    "cut": '{"version": 2, "fi',
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "no files": '{"version": 2}',
    "files are a list": '{"version": 2, "files": ["a"], "notes": {}}',
    "files are outside": '{"version": 2, "files": {"../../../summary.json": "0"}, "notes": {}}',
    "no such files": '{"version": 2, "files": {"0123456789abcdef.json": "0"}, "notes": {}}',
    "empty files": '{"version": 2, "files": {}, "notes": {}}',
    "digests are numbers": '{"version": 2, "files": {"0123456789abcdef.json": 3}, "notes": {}}',
    "notes are a list": '{"version": 2, "files": {}, "notes": []}',
    "version is a list": '{"version": [], "files": {}, "notes": {}}',
    "version is null": '{"version": null, "files": {}, "notes": {}}',
    "later version": '{"version": 4, "files": {}, "notes": {}}',
    "deep": "[" * 100_000,
    "infinity": '{"version": 1e999, "files": {}, "notes": {}}',
}
STRUCTURES = {
    "empty": "",
    "a list": "[]",
    "null": "null",
    "no kind": "{}",
    "two kinds": '{"dict": [], "list": []}',
    "unknown kind": '{"pickle": "x"}',
    "no such tensor": '{"dict": [["a", {"tensor": "nowhere"}]]}',
    "list as a key": '{"dict": [[[], {"value": 1}]]}',
    "no pairs": '{"dict": [1, 2, 3]}',
    "other weights": '{"dict": [["actor", {"value": 1}]]}',
    "a list of weights": '{"list": [{"value": 1}]}',
    "a number": '{"value": 3}',
    "nothing": '{"value": null}',
    "deep": '{"list": [' * 50_000 + "]}" * 50_000,
    "deep value": '{"dict": [["more", {"value": ' + "[" * 1150 + "]" * 1150 + "}]]}",
    "long number": '{"value": ' + "9" * 10_000 + "}",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_damaged_manifest_is_one_sentence(name: str, run: Path) -> None:
    (run / "checkpoints" / "best" / "manifest.json").write_text(MANIFESTS[name])
    begin = time.monotonic()
    _refused(type_eval(f"run={run}"), begin)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_damaged_structure_is_one_sentence(name: str, run: Path, tmp_path: Path) -> None:
    _sealed(run / "checkpoints" / "best", ".json", STRUCTURES[name].encode())
    begin = time.monotonic()
    _refused(type_eval(f"run={run}"), begin)
    for folder in (run / "resume").iterdir():
        _sealed(folder, ".json", STRUCTURES[name].encode())
    begin = time.monotonic()
    _refused(type_train(tmp_path / "other", f"resume={run}", "decisions=122"), begin)


@pytest.mark.parametrize("name", ["empty", "cut", "zeros", "huge header", "no tensors", "other shapes", "text"])
def test_damaged_weights_are_one_sentence(name: str, run: Path) -> None:
    (path,) = (run / "checkpoints" / "best").glob("*.safetensors")
    content, tensors = path.read_bytes(), load_file(path)
    if name == "other shapes":
        save_file({key: value.flatten()[:1].contiguous() for key, value in tensors.items()}, path)
    elif name == "no tensors":
        save_file({}, path)
    else:
        damaged = {"empty": b"", "cut": content[:-9], "zeros": b"\0" * 4096, "text": b"hello" * 99}
        path.write_bytes(damaged.get(name, b"\xff" * 7 + b"\x7f" + content))
    _sealed(run / "checkpoints" / "best", ".safetensors", path.read_bytes())
    begin = time.monotonic()
    _refused(type_eval(f"run={run}"), begin)


SUMMARIES = ("", "[]", "3", "null", "{", "\0" * 100, '{"policy_sha256": ' + "[" * 100_000, b"\xff\xfe\x00")


@pytest.mark.parametrize("content", SUMMARIES, ids=range(len(SUMMARIES)))
def test_a_damaged_summary_is_one_sentence_and_training_writes_it_again(content: str | bytes, run: Path) -> None:
    (run / "summary.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    begin = time.monotonic()
    assert "summary.json is damaged" in _refused(type_eval(f"run={run}"), begin)
    assert type_train(run) is None
    assert type_eval(f"run={run}") is None


@pytest.mark.parametrize("content", [b"", b"[1]\n", b"{\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_metrics_file_is_written_again_from_the_checkpoint(content: bytes, run: Path) -> None:
    (run / "metrics.jsonl").write_bytes(content)
    if content:
        with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged: a line is no JSON object; remove it"):
            CsvLogger(str(run)).log({}, 1)  # without a state to continue from
    assert type_train(run, "decisions=122", "logging=csv") is None
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["env_steps"] == json.loads((run / "summary.json").read_text())["env_steps"]


def test_out_names_another_folder_and_the_run_stays_as_it_was(run: Path, tmp_path: Path) -> None:
    before = digests(run)
    (tmp_path / "canary").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "eval.json").symlink_to(tmp_path / "canary")
    (tmp_path / "out" / "eval.json.partial").symlink_to(tmp_path / "canary")
    assert type_eval(f"run={run}", f"out={tmp_path / 'out'}") is None
    assert (tmp_path / "canary").read_text() == "mine"
    assert not os.path.islink(tmp_path / "out" / "eval.json")
    assert digests(run) == before
    begin = time.monotonic()
    _refused(type_eval(f"run={run}", f"out={tmp_path / 'canary'}"), begin)


def test_a_config_refers_to_plain_values_of_its_own_groups() -> None:
    check_references(Path("config.yaml"), {"task": {"name": "push-v3"}, "policy": {"path": "${task.name}/flow_mlp"}})
    nested = {"": {"b": "x"}, "task": {"a": "${.b}${.b}", "b": "x"}}  # "${.b}" is task.b, whatever the key "" has
    with pytest.raises(ValueError, match="a config refers to values of its own only"):
        check_references(Path("config.yaml"), nested)
