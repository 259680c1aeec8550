"""Loads a lerobot checkpoint with strict checks of everything that lerobot would accept silently or would execute.

    path --find_checkpoint--> folder --read_config--> config
                                |---load_weights----> policy      (strict: no weight missing, none left over)
                                +---load_processors-> pre, post   (steps and arguments of `_policy_types` only)

Every file is checked before lerobot opens it. Errors of lerobot, transformers and tokenizers, which are of many types,
become one sentence here.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.processor import ProcessorStepRegistry
from safetensors import safe_open
from torch import nn
from transformers.initialization import no_init_weights

from dsrl.foreign_json import first_line
from dsrl.policy._checkpoint_files import (
    MIB,
    check_shapes,
    file_inside,
    missing_weights,
    read_json,
    read_shapes,
)
from dsrl.policy._config_file import check_config
from dsrl.policy._find import POSTPROCESSOR, PREPROCESSOR
from dsrl.policy._policy_fields import STATE_FILE
from dsrl.policy._policy_types import POLICY_TYPES
from dsrl.schema import Check, choice, record, refuse, sequence, text

MAX_STATISTICS = 16 * MIB  # bytes of the statistics of one processor step
Sources = Callable[[Iterable[str]], Mapping[str, str]]  # stored names -> {weight of the policy: stored name}


def stored_as_named(stored: Iterable[str]) -> dict[str, str]:
    """Give every stored weight to the weight of its name."""
    return {name: name for name in stored}


def read_config(checkpoint: Path, policy_type: str, device: torch.device) -> Any:
    """Read lerobot's configuration of a checkpoint, which `check_config` checks, and set it to run on `device`."""
    file = check_config(checkpoint, policy_type)
    with foreign_errors(f"{file} cannot be read by the installed lerobot"), quiet():
        config = PreTrainedConfig.from_pretrained(checkpoint)
    config.device = str(device)
    return config


def load_weights(
    build: Callable[[], nn.Module],
    checkpoint: Path,
    policy_type: str,
    sources: Sources = stored_as_named,
) -> Any:
    """Build a policy, fill it from `model.safetensors` and freeze it.

    Weights whose name starts with one of the type's `unused_weights` may be missing, and are then zero. `sources` maps
    the policy's names to those that are stored. The caller's random state stays as it was.

    Raises:
        ValueError: if any other weight is missing, left over or of another shape.
    """
    file = check_weights(build, checkpoint, policy_type, sources)
    with torch.random.fork_rng(devices=[]), no_init_weights(), quiet():
        policy = build()  # every weight is about to be loaded: filling 450 M of them first costs 10 s
    policy.requires_grad_(False).eval()
    _fill(policy, file, sources)
    return policy


def load_where_built(
    config: Any,
    build: Callable[[], nn.Module],
    checkpoint: Path,
    policy_type: str,
    sources: Sources = stored_as_named,
) -> Any:
    """Load a policy as `load_weights` does, where lerobot itself moves what `build` has built to `config.device`.

    `build` reads `config`. The policy is returned on the configured device.
    """
    device = config.device

    def built() -> nn.Module:
        config.device = torch.get_default_device().type  # meta where sizes alone are described
        return build()

    policy = load_weights(built, checkpoint, policy_type, sources)
    config.device = device
    return policy.to(device)


def check_weights(
    build: Callable[[], nn.Module],
    checkpoint: Path,
    policy_type: str,
    sources: Sources = stored_as_named,
) -> Path:
    """Compare `model.safetensors` with the policy that `build` describes, which takes no memory; returns the file.

    Raises ValueError where a weight is missing, left over or of another shape.
    """
    file, kind = file_inside(checkpoint, "model.safetensors"), POLICY_TYPES[policy_type]
    stored = read_shapes(file, kind.largest_weights)
    shapes = {name: stored[source] for name, source in sources(stored).items()}
    problem = f"{checkpoint} describes a policy that the installed lerobot cannot build"
    with foreign_errors(problem), torch.random.fork_rng(devices=[]), no_init_weights(), quiet(), torch.device("meta"):
        described = build()  # sizes that no weight backs end here
    check_shapes(file, shapes, described, kind.unused_weights)
    return file


def _fill(policy: nn.Module, file: Path, sources: Sources) -> None:
    """Copy the stored weights into a policy, one after the other: two copies of all would take twice the memory.

    Weights that are not stored become zero; all others take the type that they are stored in, see
    `take_stored_types`. A file without any float32 was cast after training: it is computed in the types that lerobot
    builds.
    """
    own = policy.state_dict(keep_vars=True)
    with safe_open(file, "pt") as stored:
        names = sources(list(stored.keys()))
        for name in missing_weights(policy, set(names)):
            policy.get_parameter(name).zero_()
        cast = not any(stored.get_slice(name).get_dtype() == "F32" for name in names.values())
        for name in names.keys() & own.keys():
            weight = stored.get_tensor(names[name])
            own[name].data = weight.to(own[name].dtype) if cast else weight.clone()


def take_stored_types(policy: nn.Module, file: Path) -> None:
    """Cast every weight to the type that it is stored in: the one that lerobot trained and saved it in.

    lerobot builds a backbone in bfloat16 or in float32 depending on two configurations and a download.
    """
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    with safe_open(file, "pt") as stored:
        names = set(stored.keys())
        for name, weight in policy.named_parameters():
            if name in names:
                weight.data = weight.data.to(types[stored.get_slice(name).get_dtype()])


def read_steps(checkpoint: Path, policy_type: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the saved processor steps of a checkpoint: pipeline file -> registered step -> its arguments.

    Raises:
        ValueError: for a step, an argument or a statistics file that the policy type does not have, or a step that it
            needs and that is missing.
    """
    kind = POLICY_TYPES[policy_type]
    steps = {}
    for name, allowed in ((PREPROCESSOR, kind.preprocessor), (POSTPROCESSOR, kind.postprocessor)):
        file = file_inside(checkpoint, name)
        steps[name] = _read_pipeline(file, allowed, policy_type)
        for step in steps[name].values():
            if "state_file" in step:
                _check_state_file(file_inside(checkpoint, step["state_file"]), file)
        lost = [needed for needed in kind.needed if needed in allowed and needed not in steps[name]]
        if lost:
            raise ValueError(f"{file} has no {lost[0]} step, only {list(steps[name])}; save it with lerobot")
    return steps


def _read_pipeline(file: Path, allowed: Mapping[str, Check], policy_type: str) -> dict[str, dict[str, Any]]:
    """Read the entries of one pipeline by their registered name; raises ValueError for a step that is not allowed."""
    saved = read_json(file)
    record({"name": text(), "steps": sequence(_is_mapping, 0, 64)}, required=("steps",))(str(file), saved)
    found: dict[str, dict[str, Any]] = {}
    for i, step in enumerate(saved["steps"]):
        name = step.get("registry_name")
        if not isinstance(name, str) or name not in allowed:
            raise ValueError(
                f"{file} has the step {str(name or step.get('class'))[:60]!r} but {policy_type} needs none but "
                f"{', '.join(allowed)}; other steps are not run, because they could name any code"
            )
        if name in found:
            raise ValueError(f"{file} has the step {name!r} twice; save it with lerobot")
        fields = {"registry_name": choice(name), "config": allowed[name], "state_file": STATE_FILE}
        record(fields)(f"{file}: steps[{i}]", {"config": {}, **step})
        found[name] = {"config": {}, **step}
    return found


def _is_mapping(where: str, value: Any) -> None:
    if not isinstance(value, dict):
        refuse(where, value, "a mapping")


def _check_state_file(state: Path, file: Path) -> None:
    """Check the statistics of one step. Raises FileNotFoundError or ValueError."""
    if not state.is_file():
        raise FileNotFoundError(f"{file} names the statistics {state.name!r}, which are not there; copy them there")
    unnamed = [name for name in read_shapes(state, MAX_STATISTICS) if "." not in name]
    if unnamed:
        raise ValueError(f"{state} has {unnamed[0][:60]!r}, which names no feature; save it with lerobot")


def load_processors(
    config: Any,
    checkpoint: Path,
    steps: dict[str, Any],
    replaced: Mapping[str, Mapping[str, Any]],
    device: torch.device,
) -> tuple[Any, Any]:
    """Load the saved pre- and post-processor of a checkpoint, checked by `read_steps`, to work on `device`.

    Chunks come back on the CPU, as lerobot saves it, also where another device is saved, which this machine may lack.
    `replaced` are arguments of steps of the preprocessor that count, whatever the checkpoint says: the folder of a
    tokenizer.

    Raises:
        ValueError: if lerobot cannot build one of the steps.
    """
    overrides = {step: dict(arguments) for step, arguments in replaced.items()}
    if "device_processor" in steps[PREPROCESSOR]:
        overrides["device_processor"] = {"device": str(device)}
    home = {"device_processor": {"device": "cpu"}} if "device_processor" in steps[POSTPROCESSOR] else {}
    with foreign_errors(f"{checkpoint} has processors that the installed lerobot cannot build"), quiet():
        preprocessor, postprocessor = make_pre_post_processors(
            config, pretrained_path=str(checkpoint), preprocessor_overrides=overrides, postprocessor_overrides=home
        )
    return preprocessor, postprocessor


def processor_step(pipeline: Any, name: str) -> Any:
    """Return the step that lerobot registered as `name`, or None."""
    return next((step for step in pipeline.steps if isinstance(step, ProcessorStepRegistry.get(name))), None)


@contextlib.contextmanager
def foreign_errors(problem: str, advice: str = "get the checkpoint anew, or choose another") -> Iterator[None]:
    """Turn the errors of libraries that read a foreign checkpoint into a ValueError: `problem`, reason, `advice`."""
    try:
        yield
    except Exception as error:  # of draccus, transformers, torch, huggingface_hub, tokenizers, ...
        reason = first_line(error.__cause__ if isinstance(error.__cause__, ValueError) else error)
        raise ValueError(f"{problem} ({reason}); {advice}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how the tokenizers library ends on broken data
            raise
        raise ValueError(f"{problem} ({first_line(error)}); {advice}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the prints and warnings that lerobot makes while it builds."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
