"""Finds the folder of a lerobot checkpoint and of its backbone: bundled, local or on the Hugging Face hub.

A checkpoint that is a folder is never looked up on the hub. Names inside a checkpoint (its backbone, its tokenizer) are
relative to it or hub ids, so that a checkpoint can be copied to another machine and cannot read the user's other files.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from dsrl.foreign_json import first_line
from dsrl.policy._checkpoint_files import MIB, STATISTICS, file_inside, read_json, read_shapes
from dsrl.policy._mlp_checkpoint import KINDS
from dsrl.policy._weights import ASSETS

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
CHECKPOINT_FILES = ("config.json", "model.safetensors", PREPROCESSOR, POSTPROCESSOR)
SAVED = "pretrained_model"  # the folder inside outputs/<run>/checkpoints/<step> in which lerobot's training saves
ADAPTER = "is a PEFT adapter, not a whole policy; merge it into its base and save that"
MOST_WEIGHTS = 20480 * MIB  # bytes of any type's weights
CHECKPOINT_PATTERNS = ["*.json", "*.txt", "model.safetensors", "policy_*.safetensors"]  # no code, no pickles
BACKBONE_PATTERNS = ["*.json", "*.txt"]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")


def find_checkpoint(path: str, named: str = "policy.path=", needed: Sequence[str] = CHECKPOINT_FILES) -> Path:
    """Return the folder of a checkpoint: a bundled name, a folder, or a hub id (downloaded once, then cached).

    A bundled name wins over a folder of that name, for which there is `./name`. Errors begin with `named`.

    Raises:
        FileNotFoundError: if the name is none of them or a file of a checkpoint is missing.
        ValueError: if a file of the checkpoint is a link that leads out of the folder.
    """
    bundled = ASSETS / path
    if re.fullmatch(r"\w+", path) and bundled.is_dir():
        folder = bundled
    elif Path(path).is_dir():
        folder = Path(path)
    elif HUB_ID.fullmatch(path) and bundled.is_dir():  # an MLP's
        folder = bundled
    elif HUB_ID.fullmatch(path):
        folder = _from_hub(path, CHECKPOINT_PATTERNS, required=needed)
    else:
        names = sorted(p.name for p in ASSETS.glob("*") if (p / PREPROCESSOR).is_file())
        raise FileNotFoundError(
            f"{named}{path} is not a folder, not a bundled policy and not a hub id; type one of {names}, "
            "the folder of a lerobot checkpoint, or owner/name"
        )
    missing = [name for name in needed if not file_inside(folder, name).is_file()]
    if missing:
        _refuse_mlp(folder, path, named)
        if "model.safetensors" in missing and file_inside(folder, "adapter_config.json").is_file():
            raise FileNotFoundError(f"{named}{path} {ADAPTER}")
        advice = _migration(folder, path, named) if {*missing} == {PREPROCESSOR, POSTPROCESSOR} else ""
        inner = (folder / place / SAVED for place in ("", "last", "checkpoints/last"))
        saved = next((one for one in inner if all((one / name).is_file() for name in needed)), None)
        if saved is not None:
            raise FileNotFoundError(f"{named}{path} is of a training; type {named}{shlex.quote(str(saved))}")
        advice = advice or f"a lerobot checkpoint has {', '.join(CHECKPOINT_FILES)}: copy them from where it was saved"
        raise FileNotFoundError(f"{named}{path} lacks {', '.join(missing)}; {advice}")
    return folder.resolve()


def _refuse_mlp(folder: Path, path: str, named: str) -> None:
    """Raise FileNotFoundError that names the policy which loads the checkpoint in `folder`, where that is an MLP's."""
    file = file_inside(folder, "config.json")
    kind = read_json(file).get("policy") if file.is_file() else None
    if kind in KINDS:
        raise FileNotFoundError(f"{named}{path} is not of lerobot but of scripts/pretrain; type policy={kind}")


def _migration(folder: Path, path: str, named: str) -> str:
    """Return what to type for a checkpoint of an early lerobot, which has its statistics among the weights, or ""."""
    weights = file_inside(folder, "model.safetensors")
    if not any(name.startswith(STATISTICS) for name in read_shapes(weights, MOST_WEIGHTS)):
        return ""
    if "ENV" in _kinds(folder):  # lerobot's migration takes observation.environment_state for a state and ends there
        return (
            "it is of lerobot 0.3 or earlier, whose migration has no observation.environment_state: write both with "
            "the statistics among its weights, by lerobot's make_pre_post_processors, and save_pretrained of the two"
        )
    typed, flat = Path(path), f"./{path.replace('/', '_')}_migrated"
    result = (typed.parent / f"{typed.name}_migrated").absolute() if typed.is_dir() else flat  # where lerobot writes it
    command = f"python -m lerobot.processor.migrate_policy_normalization --pretrained-path {shlex.quote(path)}"
    return f"it is of lerobot 0.3 or earlier: type `{command}`, then {named}{shlex.quote(str(result))}"


def _kinds(folder: Path) -> list[Any]:
    """Return the kinds of the features that a checkpoint's config.json, which is not checked yet, names as inputs."""
    features = read_json(file_inside(folder, "config.json")).get("input_features")
    return [one.get("type") for one in features.values() if isinstance(one, dict)] if isinstance(features, dict) else []


def find_backbone(name: str, checkpoint: Path, needs: str = "config.json") -> tuple[Path, Path]:
    """Return the folder of the backbone or tokenizer that a checkpoint names, inside it or from the hub, and its root.

    No file of the folder may lead out of the root: the checkpoint, or the folder itself where it lies elsewhere.
    `needs` is the file by which it is recognised.

    Raises:
        ValueError: if the name leads out of the checkpoint.
        FileNotFoundError: if there is no such folder and the hub does not give it.
    """
    folder = file_inside(checkpoint, name)
    if file_inside(checkpoint, f"{name}/{needs}").is_file():
        return folder, checkpoint if folder.is_relative_to(checkpoint) else folder
    if HUB_ID.fullmatch(name):
        folder = _from_hub(name, BACKBONE_PATTERNS, required=[needs]).resolve()
        return folder, folder
    if needs != "config.json":
        raise FileNotFoundError(
            f"{checkpoint} names the tokenizer {name!r}, which is no folder in it; copy the tokenizer to "
            f'{checkpoint}/tokenizer and write "tokenizer_name": "tokenizer" in {PREPROCESSOR}'
        )
    raise FileNotFoundError(
        f"{checkpoint} names the backbone {name!r}, which is no folder in it; copy the backbone's configuration and "
        f'tokenizer to {checkpoint}/vlm and write "vlm_model_name": "vlm" in config.json'
    )


def _from_hub(name: str, patterns: list[str], required: Iterable[str]) -> Path:
    """A snapshot of a hub repository, from the local cache if it is complete there."""
    with contextlib.suppress(OSError):
        cached = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        if all((cached / file).is_file() for file in required):
            return cached
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen unrelated types: offline, gated, mistyped, ...
        raise FileNotFoundError(
            f"{name} is not a folder here and could not be downloaded from the Hugging Face hub ({first_line(error)}); "
            "type the path of an existing folder, or check the id and the network"
        ) from error
