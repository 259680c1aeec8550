"""Collects the files of an exported policy: weights, choices, processors and model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from dsrl.interfaces import BoundedActions
from dsrl.policy._checkpoint_files import file_inside
from dsrl.run.components.build import build
from dsrl.run.components.parts import Parts, backbone_sha256, configuration_sha256, reads_instruction
from dsrl.run.config.settings import checked, saved_config
from dsrl.run.evaluate import check_same_policy
from dsrl.run.exported import BACKBONE, BASE, CONFIGURATION, PROCESSORS, STEERING, VERSION, WEIGHTS
from dsrl.run.saved.files import write_json
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.policy_path import find_policy
from dsrl.run.saved.state_json import flatten
from dsrl.run.saved.weights import load_weights
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.installed import bundled
from dsrl.training.lerobot_columns import image_keys
from scripts._complete_folder import complete_folder
from scripts.export import in_python
from scripts.export.card import card
from scripts.export.lerobot_eval import command
from scripts.export.sentences import gave_sentences

EXPORTED = ("policy", "noise", "sac")  # groups
POLICY_FILES = ("*.json", "*.txt", "*.safetensors", "*.jinja")  # no code, no pickles
OF_TRAINING = "train_config.json"  # of lerobot, with folders of whoever trained; no policy reads it


def export(
    run: Path,
    out: Path,
    *,
    checkpoint: str,
    copy_base: bool,
    pushed: bool = False,
    plugins: Sequence[str] = (),
    files: Sequence[str] = (),
) -> str:
    """Write the steered policy of `run` into the new folder `out`, which appears when it is complete.

    Returns the command by which lerobot-eval plays it in the run's test worlds; where lerobot has no environment of its
    task, the lines of Python that play it.

    `checkpoint` is best or last, or returned: best, if the run returned it; `pushed`: others will load it from the hub.
    Raises UserError, ValueError or FileNotFoundError for a run that cannot be exported.
    """
    folder = RunFolder(run)
    folder.check()
    saved = saved_config(run, "run", plugins, files)
    _check_ours(saved)
    find_policy(saved.policy, folder.hydra / "hydra.yaml")
    if pushed and not copy_base:
        _check_found_by_others(str(saved.policy.get("path")))
    checkpoint, summary = _chosen(folder, checkpoint)
    state = folder.load(checkpoint)
    parts = build(saved, lambda sentence: None)
    check_same_policy(parts, folder)
    load_weights(parts.algorithm, state, f"checkpoint={checkpoint} of {run}")
    if parts.policy_sha256() is None:
        raise UserError(f"run={run} has a policy without weights: there is no base policy to export")
    base = str(saved.policy.path)
    content = _steering(saved, parts, copied=copy_base)
    content["task"]["has_sentences"] = reads_instruction(parts.policy) and gave_sentences(folder)
    tensors: dict[str, Any] = {}
    content["state"] = flatten(state, "", tensors)
    contents = {"config.json": _config(parts, content), STEERING: content, **_processors()}
    with complete_folder(out) as partial:
        if copy_base:
            _copy_policy(_base_folder(base), partial / BASE)
        save_file(tensors, partial / WEIGHTS)
        for name, one in contents.items():
            write_json(partial / name, one)
        chosen: Any = OmegaConf.to_container(checked(saved, "task"), resolve=True)
        again = _played(out.name, chosen, content)
        (partial / "README.md").write_text(
            card(run, out.name, checkpoint, content, summary, _task_of(saved), again), encoding="utf-8"
        )
    return _played(str(out), chosen, content)


def _played(policy: str, task: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    return command(policy, task, content["settings"]) or in_python.lines(policy, content["task"])


def _chosen(folder: RunFolder, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Return best or last, and the run's summary with the results that are this checkpoint's."""
    summary, outdated = folder.read_results(), folder.outdated()
    if outdated is not None:
        print(outdated)
    if checkpoint == "returned":
        if summary.get("returned") == "base":
            raise UserError(
                f"run={folder.path} returned its base policy; type checkpoint=best to export the steered one"
            )
        checkpoint = "best"
    if checkpoint != "best":  # the run's test worlds met the best one alone
        summary = {**summary, "steered": None, "paired": None, "unpaired": None}
    return checkpoint, summary


def _check_ours(saved: DictConfig) -> None:
    """Raise UserError where policy, noise or algorithm are a plugin's."""
    for group in EXPORTED:
        target = str(checked(saved, group)._target_)
        if not target.startswith("dsrl."):
            raise UserError(
                f"{group} is {target}: an exported policy cannot bring the code of a plugin; "
                f"export a run whose {group} is one of dsrl's own"
            )


def _check_found_by_others(path: str) -> None:
    """Raise UserError for a base policy in a folder of the user's, of whose path a pushed config would speak."""
    if _is_own_folder(path):
        raise UserError(
            f"--push without --copy-base would publish the path {path} in place of the base policy, "
            "which nobody else can load then; type --copy-base too"
        )


def _steering(saved: DictConfig, parts: Parts, *, copied: bool) -> dict[str, Any]:
    """Return what builds and plays the policy again; with a copied base, no absolute path of this machine."""
    nodes: dict[str, Any] = {group: OmegaConf.to_container(checked(saved, group)) for group in EXPORTED}
    path = str(nodes["policy"]["path"])
    if _is_own_folder(path):
        nodes["policy"]["path"] = BASE if copied else str(Path(path).resolve())
    settings, task = asdict(parts.settings), parts.task
    if copied and Path(settings["offline_data"] or "").is_absolute():
        settings["offline_data"] = Path(settings["offline_data"]).name
    bounds = (task.action_low.tolist(), task.action_high.tolist()) if isinstance(task, BoundedActions) else (None, None)
    return {
        "version": VERSION,
        **nodes,
        "horizon": parts.env.horizon,
        "best_of": parts.settings.best_of,
        "first_seed": parts.settings.test_seed,
        "copied": copied,
        "base_sha256": parts.policy_sha256(),
        CONFIGURATION: configuration_sha256(parts.policy),
        BACKBONE: backbone_sha256(parts.policy),
        "action_low": bounds[0],
        "action_high": bounds[1],
        "task": {
            "state_dim": task.state_dim,
            "action_dim": task.action_dim,
            "cameras": {name: list(shape) for name, shape in task.cameras.items()},
            "max_steps": task.max_steps,
            "has_success": task.has_success,
        },
        "settings": settings,
    }


def _processors() -> dict[str, Any]:
    """Return lerobot's pipelines: name of a file -> content."""
    return {
        name: {
            "name": name.removesuffix(".json"),
            "steps": [{"registry_name": step, "config": options} for step, options in steps.items()],
        }
        for name, steps in PROCESSORS.items()
    }


def _config(parts: Parts, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json of lerobot: features by lerobot's names, and the base policy."""
    task = parts.task
    inputs: dict[str, Any] = {"observation.state": {"type": "STATE", "shape": [task.state_dim]}}
    for camera, key in image_keys(task.cameras).items():
        inputs[key] = {"type": "VISUAL", "shape": list(task.cameras[camera])}
    return {
        "type": "dsrl",
        "input_features": inputs,
        "output_features": {"action": {"type": "ACTION", "shape": [task.action_dim]}},
        "device": "cpu",
        "use_amp": False,
        "base_path": None if content["copied"] else content["policy"]["path"],
        "base_sha256": content["base_sha256"],
        "first_seed": content["first_seed"],
    }


def _task_of(saved: DictConfig) -> str:
    """Return the task as a person would type it, as far as the config shows."""
    node: Any = OmegaConf.to_container(checked(saved, "task"))
    module = str(node.pop("_target_")).split(".")[-2]
    shown = [f"{key}={value}" for key, value in node.items() if key in ("id", "env", "name", "observation") and value]
    return " ".join([module, *shown])


def _base_folder(path: str) -> Path:
    """Return the folder of a base policy: bundled, a folder, or in the cache of the hub."""
    folder = bundled(path) or Path(path)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(path, local_files_only=True))  # it has just been loaded


def _is_own_folder(path: str) -> bool:
    return Path(path).is_dir() and not bundled(path)


def _copy_policy(source: Path, target: Path) -> None:
    """Copy the files of a policy with the folders inside. Raises ValueError for a link that leads out of it."""
    for path in sorted(source.rglob("*")):
        if path.name != OF_TRAINING and any(path.match(pattern) for pattern in POLICY_FILES):
            found = file_inside(source, str(path.relative_to(source)))
            if found.is_file():
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, copy)
