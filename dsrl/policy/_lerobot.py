"""Loading a lerobot checkpoint, from a folder or the Hugging Face hub, with every silent mistake made loud.

    path --find_checkpoint--> folder --read_config--> config
                                |---load_weights----> policy      (strict: no weight missing, none left over)
                                +---load_processors-> pre, post   (steps of lerobot's registry only)
                                                       +-check_statistics

A checkpoint that is a folder is never looked up on the hub. Names that it stores (its backbone, its tokenizer) may be
relative to it, so that a checkpoint can be copied to another machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.processor import ProcessorStepRegistry
from safetensors import safe_open
from safetensors.torch import load_model
from torch import Tensor, nn

from dsrl.policy._weights import ASSETS

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
CHECKPOINT_FILES = ("config.json", "model.safetensors", PREPROCESSOR, POSTPROCESSOR)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SMALLEST_SPREAD = 1e-6  # lerobot divides by (std + 1e-8): below this an input is noise blown up, not a measurement
SPREAD = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}


def find_checkpoint(path: str) -> Path:
    """The folder of a checkpoint: a bundled name, a folder, or a hub id (downloaded once, then read from the cache).

    A bundled name wins over a folder of that name, for which there is `./name`.

    Raises:
        FileNotFoundError: if the name is none of them or a file of a checkpoint is missing.
    """
    bundled = ASSETS / path
    if re.fullmatch(r"\w+", path) and bundled.is_dir():
        folder = bundled
    elif Path(path).is_dir():
        folder = Path(path)
    elif HUB_ID.fullmatch(path):
        folder = _from_hub(path, ["*.json", "*.safetensors", "vlm/*"], required=CHECKPOINT_FILES)
    else:
        names = sorted(p.name for p in ASSETS.glob("*") if (p / PREPROCESSOR).is_file())
        raise FileNotFoundError(
            f"policy.path={path} is not a folder, not a bundled policy and not a hub id; type one of {names}, "
            "the folder of a lerobot checkpoint, or owner/name"
        )
    missing = [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"policy.path={path} lacks {', '.join(missing)}; a lerobot checkpoint has {', '.join(CHECKPOINT_FILES)} "
            "(older ones get theirs from `python -m lerobot.processor.migrate_policy_normalization`)"
        )
    return folder.resolve()


def find_backbone(name: str, checkpoint: Path) -> str:
    """The folder of the backbone that a checkpoint names: relative to it, absolute, or a hub id.

    Raises:
        FileNotFoundError: if there is no such folder and the hub does not give it.
    """
    for folder in (checkpoint / name, Path(name)):
        if (folder / "config.json").is_file():
            return str(folder.resolve())
    if HUB_ID.fullmatch(name):
        return str(_from_hub(name, ["*.json", "*.txt", "*.jinja", "*.model"], required=["config.json"]))
    raise FileNotFoundError(
        f"{checkpoint}/config.json names the backbone {name!r}, which is no folder here; copy the backbone's "
        f'configuration and tokenizer to {checkpoint}/vlm and write "vlm_model_name": "vlm"'
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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"{name} is not a folder here and could not be had from the Hugging Face hub ({reason}); "
            "type the path of an existing folder, or check the id and the network"
        ) from error


def read_config(checkpoint: Path, policy_type: str, device: torch.device) -> Any:
    """lerobot's configuration of a checkpoint, set to run on `device`.

    Raises:
        ValueError: if it is the checkpoint of another policy type, or not readable by the installed lerobot.
    """
    found = json.loads((checkpoint / "config.json").read_text()).get("type")
    if found != policy_type:
        raise ValueError(
            f"{checkpoint} is a lerobot checkpoint of type {found!r} but policy={policy_type} loads {policy_type!r} "
            f"only; give policy.path a {policy_type} checkpoint"
        )
    try:
        with quiet():
            config = PreTrainedConfig.from_pretrained(checkpoint)
    except Exception as error:  # draccus wraps whatever went wrong
        raise ValueError(f"{checkpoint}/config.json cannot be read by the installed lerobot: {error}") from error
    if config.use_peft:
        raise ValueError(f"{checkpoint} is a PEFT adapter, not a whole policy; merge it into its base and save that")
    config.device = str(device)
    return config


def load_weights(policy: nn.Module, checkpoint: Path, unused: tuple[str, ...]) -> None:
    """Fill a policy from `model.safetensors` and freeze it.

    Weights whose name starts with one of `unused` never touch an action: they may be missing, and are then zero.

    Raises:
        ValueError: if any other weight is missing, left over or of another shape.
    """
    file = checkpoint / "model.safetensors"
    _take_stored_types(policy, file)
    try:
        missing, unexpected = load_model(policy, file, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the architecture of its config.json: {error}") from error
    blank = {name for name in missing if name.startswith(unused)}
    lost = sorted(set(missing) - blank)
    left = sorted(name for name in unexpected if not name.startswith(unused))
    if lost or left:
        example = (lost or left)[0]
        raise ValueError(
            f"{file} lacks {len(lost)} weights and has {len(left)} that its config.json does not describe "
            f"(for example {example}); use the config.json that was saved with these weights"
        )
    policy.requires_grad_(False).eval()
    for name in blank:
        policy.get_parameter(name).zero_()


def _take_stored_types(policy: nn.Module, file: Path) -> None:
    """Give every weight the type that it is stored in: the one that lerobot trained and saved it in.

    lerobot builds a backbone in bfloat16 or in float32 depending on two configurations and a download.
    """
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    with safe_open(file, "pt") as stored:
        names = set(stored.keys())
        for name, weight in policy.named_parameters():
            if name in names:
                weight.data = weight.data.to(types.get(stored.get_slice(name).get_dtype(), torch.float32))


def load_processors(config: Any, checkpoint: Path, device: torch.device) -> tuple[Any, Any]:
    """The saved pre- and post-processor of a checkpoint, working on `device`.

    Raises:
        ValueError: if a pipeline has a step outside lerobot's registry, or lacks its (un)normaliser or tokenizer.
    """
    steps = {}
    for file, needed in ((PREPROCESSOR, ("normalizer", "tokenizer")), (POSTPROCESSOR, ("unnormalizer",))):
        steps[file] = _saved_steps(checkpoint / file)
        lost = [f"{name}_processor" for name in needed if f"{name}_processor" not in steps[file]]
        if lost:
            raise ValueError(
                f"{checkpoint / file} has no {lost[0]} step, only {list(steps[file])}; save it with lerobot"
            )
    tokenizer = steps[PREPROCESSOR]["tokenizer_processor"].get("tokenizer_name", config.vlm_model_name)
    overrides: dict[str, dict[str, Any]] = {
        "tokenizer_processor": {"tokenizer_name": find_backbone(tokenizer, checkpoint)}
    }
    if "device_processor" in steps[PREPROCESSOR]:
        overrides["device_processor"] = {"device": str(device)}
    with quiet():
        preprocessor, postprocessor = make_pre_post_processors(
            config, pretrained_path=str(checkpoint), preprocessor_overrides=overrides
        )
    return preprocessor, postprocessor


def _saved_steps(file: Path) -> dict[str, dict[str, Any]]:
    """Name and configuration of every step of a saved pipeline; each must be one that lerobot itself registered."""
    steps = {}
    for step in json.loads(file.read_text())["steps"]:
        name = step.get("registry_name")
        if name not in ProcessorStepRegistry.list():
            raise ValueError(
                f"{file} has the step {name or step.get('class')!r}, which is none of lerobot's own; only registered "
                "steps are run, because a saved pipeline could name any code"
            )
        steps[name] = step.get("config", {})
    return steps


def processor_step(pipeline: Any, name: str) -> Any:
    """The step that lerobot registered as `name`, or None."""
    return next((step for step in pipeline.steps if isinstance(step, ProcessorStepRegistry.get(name))), None)


def check_statistics(step: Any, keys: Iterable[str], checkpoint: Path, *, inputs: bool) -> None:
    """Every normalised feature has statistics of its shape, finite, and (inputs) of a spread that is not nil.

    Raises:
        ValueError: lerobot would pass such a feature unnormalised, or divide it by 1e-8, without a word.
    """
    saved: Mapping[str, Tensor] = step.state_dict()
    for key in keys:
        feature = step.features.get(key)
        if feature is None:
            raise ValueError(
                f"{checkpoint} does not normalise {key}, only {list(step.features)}; save its processors anew"
            )
        mode = step.norm_map.get(feature.type, NormalizationMode.IDENTITY)
        if mode == NormalizationMode.IDENTITY:
            continue
        low, high = (saved.get(f"{key}.{name}") for name in SPREAD[mode])
        if low is None or high is None:
            raise ValueError(
                f"{checkpoint} has no {' and '.join(SPREAD[mode])} of {key}, which {mode.value} normalisation needs; "
                "save it with the statistics of its dataset (a base model must be fine-tuned first)"
            )
        sizes_fit = {low.numel(), high.numel()} <= {1, feature.shape[0]}
        if not sizes_fit or not all(bool(numbers.isfinite().all()) for numbers in (low, high)):
            raise ValueError(f"{checkpoint} has statistics of {key} that are not {feature.shape[0]} finite numbers")
        spread = high if mode == NormalizationMode.MEAN_STD else high - low
        if inputs and bool((spread < SMALLEST_SPREAD).any()):
            dead = (spread.flatten() < SMALLEST_SPREAD).nonzero().flatten().tolist()
            raise ValueError(
                f"{checkpoint} has no spread in {key}{dead}, so that normalising would divide by nothing; "
                f"set {SPREAD[mode][1]} of these dimensions to 1 in the statistics"
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the prints and warnings that lerobot makes while it builds from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
