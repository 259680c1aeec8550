"""Refuses wrong values, and keys that were typed and have no effect, before anything heavy is loaded.

typed key            has an effect where
sac.gamma            the chosen component takes it (see dsrl.run.config.allow_list)
gamma                a component that the run builds refers to ${gamma}
utd                  the algorithm uses it (see dsrl.run.config.learners)
sac.alpha_lr         the other key that ONLY_WITH names has that value, or ALWAYS_BESIDE names one that is there
method=sac_full      the task has not chosen another noise

Values that files choose, a task's or an experiment's, may stay unused: they hold for many runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsrl.run.config.learners import LEARNERS, OFF, learns_with, other_learner
from dsrl.run.config.learning_budget import check_rounds
from dsrl.run.config.plugins import check_typed_plugins, plugins_of
from dsrl.run.config.request import check_returned, check_used, check_worlds, files_of
from dsrl.run.config.settings import (
    CHECKPOINT_TYPES,
    GROUPS,
    TYPES,
    check_scalars,
    checked,
    learns,
    references,
    requests_of,
    resume_options,
    saved_config,
    settings_of,
)
from dsrl.run.config.typed_choices import check_best_of_draws, check_choices, naming_files
from dsrl.run.saved.own_summary import returned_by
from dsrl.run.terminal import choices
from dsrl.run.terminal.errors import UserError, one_sentence, user_errors
from dsrl.run.terminal.ranges import shown

ONLY_WITH = {  # key -> other keys, each with the value with which alone it has an effect
    "sac.initial_alpha": {"sac.alpha": "auto"},
    "sac.target_kl": {"sac.alpha": "auto", "sac.regulariser": "kl"},
    "sac.target_entropy": {"sac.alpha": "auto", "sac.regulariser": "entropy"},
    "sac.alpha_lr": {"sac.alpha": "auto"},
    "sac.replay": {"sac.targets": "decoded"},
    "task.image_size": {"task.observation": "images"},
    "task.cameras": {"task.observation": "images"},
}
NOT_WITH = {"confirm_seed": ("confirm_episodes", 0)}  # key -> another key and the value with which it has no effect
ALWAYS_BESIDE = {"sac.initial_alpha": "sac.edit_kl", "sac.alpha_lr": "sac.edit_kl"}  # of another temperature too
FRESH_BESIDE = {"exploration": ("select_targets",), "target_draws": ("select_targets", "edit_kl")}  # fresh alone there


def check_train(cfg: DictConfig) -> None:
    """Check the config of train.py and what was typed for it; loads neither torch nor a component.

    Ends the program, or raises UserError in a sweep, with one sentence for what cannot work or has no effect.
    """
    with one_sentence(), _noting_refusal(), user_errors():
        hydra: Any = HydraConfig.get()
        _check_primary(hydra, "eval", "train")
        check_once(hydra.overrides.task)
        typed, searched = typed_keys(hydra.overrides.task), searched_keys(hydra)
        try:
            check_config(cfg, {key: text for key, text in typed.items() if key not in searched}, hydra)
        except ValueError as error:
            raise ValueError(f"{error}{_decoding(str(error), hydra.overrides.task)}") from error


def _decoding(message: str, overrides: Sequence[str]) -> str:
    """Return how a number of the environment, which ${oc.env:…} reads as text, is typed; "" for other messages."""
    for word in _raw(overrides):
        typed = re.fullmatch(r"\+*([\w.]+)=\$\{oc\.env:(\w+)\}", word)
        if typed and message.startswith(f'{typed[1]}="'):
            return f"; a value of the environment is text, type '{typed[1]}=\"${{oc.decode:${{oc.env:{typed[2]}}}}}\"'"
    return ""


@contextmanager
def _noting_refusal() -> Iterator[None]:
    """Write `failure.txt` into the folder of a sweep's job that is refused, where a comparison of the sweep finds it.

    A refused run alone gets no folder: the empty one that Hydra has made for it is removed.
    """
    try:
        yield
    except UserError as error:
        hydra = HydraConfig.get()
        if hydra.mode == RunMode.MULTIRUN:
            from dsrl.run.saved.folder import RunFolder  # not above: it loads torch

            folder = RunFolder(Path(hydra.runtime.output_dir), Path(str(hydra.sweep.dir)))
            with suppress(UserError, OSError), folder.claimed():  # the sentence about what was typed matters more
                folder.note_refusal(error)
        else:
            with suppress(OSError):  # of a run of before, which has something in it
                Path(hydra.runtime.output_dir).rmdir()
        raise


def check_config(cfg: DictConfig, typed: Mapping[str, str], hydra: Any) -> None:
    """Check a config without Hydra's own part, `hydra`, and keys of `typed_keys`; raises ValueError or UserError."""
    chosen = {str(group): choice for group, choice in hydra.runtime.choices.items()}
    check_choices(typed, chosen, choices.folders_of(hydra.runtime.config_sources))
    check_typed_plugins(cfg, typed)
    removed = next((name for name in (*TYPES, *CHECKPOINT_TYPES) if name not in cfg), None)
    if removed is not None:
        raise ValueError(f"{removed} is missing; leave ~{removed} out")
    check_scalars(cfg)
    for group in GROUPS:
        with naming_files(typed, chosen):
            checked(cfg, group)
    check_typed(cfg, typed, chosen)
    check_best_of_draws(cfg.best_of, cfg.sac, dict(references(cfg, "sac")))
    resume_options(cfg)
    settings = settings_of(cfg)
    if learns(cfg):
        check_rounds(settings)


def _check_primary(hydra: Any, other: str, own: str) -> None:
    """Raise ValueError where -cn names the config of the other of train.py and eval.py."""
    if hydra.job.config_name == other:
        raise ValueError(f"-cn {other} is the config of {other}.py; leave it out for {own}.py, or type {other}.py")


def searched_keys(hydra: Any) -> set[str]:
    """Return the keys whose ranges are in files: they hold for many searches, and may have no effect in one."""
    return set(map(str, hydra.sweeper.get("params") or ()))


def without_effect(cfg: DictConfig, key: str) -> str | None:
    """Return other=value of a config in which a key has no effect, None where it has one."""
    if key in ALWAYS_BESIDE and OmegaConf.select(cfg, ALWAYS_BESIDE[key]) is not None:
        return None
    for other, value in ONLY_WITH.get(key, {}).items():
        found = OmegaConf.select(cfg, other)
        if found is not None and found != value:
            return f"{other}={shown(found)}"
    if key in NOT_WITH and OmegaConf.select(cfg, NOT_WITH[key][0]) == NOT_WITH[key][1]:
        return "{}={}".format(*NOT_WITH[key])
    return None


def check_eval(cfg: DictConfig) -> None:
    """Check the config of eval.py, what was typed for it, and the configs of the runs that it names.

    Loads neither torch nor a component; ends the program with one sentence for what cannot work or has no effect.
    """
    with one_sentence(), user_errors():
        _check_primary(HydraConfig.get(), "train", "eval")
        check_once(HydraConfig.get().overrides.task)
        typed = typed_keys(HydraConfig.get().overrides.task)
        check_typed_plugins(cfg, typed)
        checked(cfg, "logging")
        for request in requests_of(cfg):
            check_used(request, typed)
            saved = saved_config(Path(request.run), "run", plugins_of(cfg), files_of(cfg))
            check_returned(request, typed, returned_by(Path(request.run)))
            for group in GROUPS:
                checked(saved, group)
            settings = settings_of(saved)
            check_worlds(request, settings.eval_episodes, settings.test_seed)


def typed_keys(overrides: Sequence[str]) -> dict[str, str]:
    """Return the keys of overrides in Hydra's grammar, each with its text key=value; deleted keys are left out."""
    parsed = OverridesParser.create().parse_overrides(_resolved(overrides))
    kept = [one for one in parsed if not one.is_delete() and not one.key_or_group.startswith("hydra")]
    return {one.key_or_group: f"{one.key_or_group}={str(one.input_line).partition('=')[2]}" for one in kept}


def _resolved(overrides: Sequence[str]) -> list[str]:
    """Return overrides with the values that they refer to. Raises ValueError where one refers to what is not there."""
    words = []
    for index, word in enumerate(_raw(overrides)):
        try:
            words.append(str(overrides[index]))
        except OmegaConfBaseException as error:
            reason = re.sub(r'.*?"(.*)"', r"\1", str(error).splitlines()[0])
            raise ValueError(
                f"{word} cannot be resolved ({reason}); set what it refers to, or type the value itself"
            ) from error
    return words


def _raw(overrides: Sequence[str]) -> list[str]:
    """Return overrides as they were typed; a list of OmegaConf resolves ${…} when it is read."""
    words: Any = OmegaConf.to_container(overrides, resolve=False) if OmegaConf.is_list(overrides) else overrides
    return list(map(str, words))


def check_once(overrides: Sequence[str]) -> None:
    """Raise ValueError for two choices of one group, of which Hydra would take the later.

    A value may be typed twice, so that a command can be continued with other values at its end.
    """
    typed: dict[str, str] = {}
    for override in _resolved(overrides):
        group, at, place = override.partition("=")[0].partition("@")
        if at and group.lstrip("+~") in choices.groups():
            raise ValueError(f"{override} is not used: no run reads {place}; leave out @{place}")
        for group, text in typed_keys([override]).items():
            first = typed.setdefault(group, text)
            if first != text and group in choices.groups():
                both = f"{first},{text.partition('=')[2]}"
                raise ValueError(f"{first} and {text} are both typed; leave one of them out, or run both by {both}")


def check_typed(cfg: DictConfig, typed: Mapping[str, str], chosen: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the key and what works, for a typed key without effect.

    `typed` comes from `typed_keys`; `chosen` maps groups to choices.
    """
    used = set(_used(cfg))
    for key, text in typed.items():
        first, _, option = key.partition(".")
        if option and chosen.get(first) == "none":
            works = " or ".join(f"{first}={name}" for name in choices.names(first) if name != "none")
            raise ValueError(f"{text} is not used with {first}=none; type {works} too")
        if first in chosen or key in NOT_WITH:
            _check_condition(cfg, key, text)
        elif key in LEARNERS and cfg[key] not in OFF and not learns_with(cfg.sac, key):
            raise ValueError(other_learner(text, key, str(chosen.get("sac"))))
        elif key in choices.groups():
            raise ValueError(f"{text} is no choice; type one without brackets, or several as {key}=a,b with -m")
        elif first not in used and key in choices.top_level():
            raise ValueError(_own_keys(cfg, key, text, str(chosen.get("sac"))))
        elif first not in used:
            raise ValueError(f"{text} is not used, there is no such option; leave it out")


def _used(cfg: DictConfig) -> Iterator[str]:
    """Yield the keys without a group that the run reads itself, or that a component refers to."""
    yield from TYPES
    yield from CHECKPOINT_TYPES
    yield "plugins"
    for group in GROUPS:
        text = str(OmegaConf.to_container(cfg[group], resolve=False))
        yield from re.findall(r"\$\{(\w+)\}", text)


def _check_condition(cfg: DictConfig, key: str, text: str) -> None:
    if found := without_effect(cfg, key):
        other = found.partition("=")[0]
        works = f"{other}={ONLY_WITH[key][other]}" if key in ONLY_WITH else f"another {other}"
        raise ValueError(f"{text} is not used with {found}; type {works}, or leave it out")


def _own_keys(cfg: DictConfig, key: str, text: str, sac: str) -> str:
    """Word that an algorithm does not refer to a key, and name its own options that take the value instead."""
    names = {
        name
        for choice in choices.names("sac")
        for name, value in choices.options("sac", choice).items()
        if value == f"${{{key}}}"
    }
    names -= {name for name, beside in FRESH_BESIDE.items() if cfg[key] != "fresh" and cfg.sac.keys() & {*beside}}
    own = [f"sac.{name}" for name in cfg.sac if name in names]
    if not own:
        return f"{text} is not used by sac={sac}; leave it out"
    listed = ", ".join(own[:-1]) + " and " + own[-1] if len(own) > 1 else own[0]
    instead = " ".join(f"{one}={text.partition('=')[2]}" for one in own)
    return f"{text} is not used by sac={sac}, which has its own {listed}; type {instead}"
