"""Replaces noise=auto by the noise that a measurement chooses, before the run is built; a continued run keeps its own.

cfg with noise=auto -> (base policy in the validation worlds | config of the earlier run) -> cfg with noise=repeat, …
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_choice import NoiseChoice, choose_noise, most_evaluations, smooth_ranks
from dsrl.evaluation.noise_sources import Act
from dsrl.interfaces import Noise
from dsrl.run.components.build import build, build_noise, check_budget
from dsrl.run.components.final_evaluation import build_simulation, play
from dsrl.run.components.parts import Parts
from dsrl.run.components.recorded_data import find_offline_noise
from dsrl.run.config.plugins import plugins_of
from dsrl.run.config.settings import checked, saved_config
from dsrl.run.config.typed_keys import typed_keys
from dsrl.run.saved.files import LARGEST_SUMMARY, read_json
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.plain_yaml import read_overrides
from dsrl.run.terminal.console import Screen, clock
from dsrl.run.terminal.errors import user_errors
from dsrl.run.terminal.ranges import fits
from dsrl.run.terminal.signals import Signals

AUTO = "dsrl.noise.auto.AutoNoise"
CONTENT: Mapping[str, Any] = {  # of noise.json
    "chosen": str,
    "numbers": int,
    "measured": Mapping[str, Mapping[str, float | Sequence[float] | None]],
    "doubt": str | None,
}
FOLLOWED = ("magnitude", "action_dims")  # options that the noise of an earlier run takes from the config of this one
Node = Mapping[str, Any]


def with_chosen_noise(
    cfg: DictConfig, parts: Parts, earlier: Sequence[RunFolder], screen: Screen, signals: Signals
) -> tuple[DictConfig, Parts, dict[str, Any] | None]:
    """Return config and parts with the noise that stands for noise=auto, and the choice as JSON.

    `parts` are those of `cfg`. The first of the folders `earlier` that holds a run of this task and policy decides;
    without one the base policy is measured. Any other noise is returned as it is, without a choice.
    """
    if cfg.noise.get("_target_") != AUTO:
        return cfg, parts, None
    found = _earlier(cfg, earlier, screen)
    if found is None:
        parts, found = _measured(cfg, parts, screen, signals)
    node, content = found
    cfg, parts = _with_noise(cfg, parts, node)
    find_offline_noise(parts, screen.phase)  # not before: the chosen noise has numbers of its own
    return cfg, parts, content


def _with_noise(cfg: DictConfig, parts: Parts, node: Node) -> tuple[DictConfig, Parts]:
    """Return config and parts with the noise of `node`; task, policy and offline data are those of `parts`."""
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    cfg.noise = node
    built = build(cfg, _silent, parts)
    offline = None if parts.offline is None else parts.offline.moved_to(built.env)
    return cfg, replace(built, offline=offline, setup_seconds=parts.setup_seconds)


def _silent(sentence: str) -> None:
    """Announce nothing: the parts have been announced before."""


def read_choice(folder: RunFolder) -> dict[str, Any] | None:
    """Return the choice in a run's folder, which may come from anybody; None without one, or where it is damaged."""
    content = read_json(folder.hydra / "noise.json", LARGEST_SUMMARY)
    sound = all(name in CONTENT and fits(value, CONTENT[name]) for name, value in content.items())
    return content if content and sound else None


def _earlier(
    cfg: DictConfig, folders: Sequence[RunFolder], screen: Screen
) -> tuple[Node, dict[str, Any] | None] | None:
    """Return the noise of an earlier run, with the values that are typed now, and its choice."""
    for folder in folders:
        if not folder.any_config.is_file():
            continue
        with user_errors():
            saved = saved_config(folder.path, folder.key, plugins_of(cfg), None)
            same = all(checked(saved, group) == checked(cfg, group) for group in ("task", "policy"))
            node: Any = OmegaConf.to_container(checked(saved, "noise"))
        if (same or folder.resume.is_dir()) and node["_target_"] != AUTO:
            with user_errors():
                _check_kept(folder)
            screen.phase(f"noise=auto keeps the noise of the earlier run in {folder.path}, nothing is measured")
            typed = {name: cfg.noise[name] for name in FOLLOWED}
            return {**node, **typed, "_partial_": True}, read_choice(folder)
    return None


def _check_kept(folder: RunFolder) -> None:
    """Raise ValueError for a typed option of the measurement that was not typed for the run in `folder`, too."""
    before = [str(word).lstrip("+") for word in read_overrides(folder.path)]
    for key, text in typed_keys(HydraConfig.get().overrides.task).items():
        measures = key.startswith("noise.") and key.removeprefix("noise.") not in FOLLOWED
        if measures and text not in before:
            raise ValueError(
                f"{text} is not used, because noise=auto keeps the noise of the earlier run in {folder.path}; "
                f"leave it out, or begin a new run"
            )


def _measured(
    cfg: DictConfig, parts: Parts, screen: Screen, signals: Signals
) -> tuple[Parts, tuple[Node, dict[str, Any]]]:
    """Return `parts` with the simulation built, and the best of the candidates with its choice."""
    nodes, horizon = candidates(cfg, parts), parts.env.horizon
    noises: dict[str, Noise] = {name: build_noise(node, parts.policy, horizon) for name, node in nodes.items()}
    if parts.policy_sha256() is None:  # no base policy to measure
        name, noise = list(noises.items())[-1]
        choice, duration = NoiseChoice(name, noise.dim, {}), ""
    else:
        check_budget(_with_noise(cfg, parts, next(iter(nodes.values())))[1], _silent)  # no candidate needs less memory
        parts = replace(parts, setup_seconds=build_simulation(parts, screen))
        begin = time.monotonic()
        choice = _played(noises, parts, screen, signals)
        duration = f", measured in {clock(time.monotonic() - begin)}"
    screen.phase(f"noise=auto chose {choice.sentence}{duration}")
    if choice.doubt is not None:
        screen.phase(choice.doubt)
    return parts, (nodes[choice.name], choice.content())


def _played(noises: Mapping[str, Noise], parts: Parts, screen: Screen, signals: Signals) -> NoiseChoice:
    """Play the base policy under its own noise and under the candidates, and return the best of them."""
    settings = parts.settings
    worlds: dict[str, int] = {"episodes": settings.validation_episodes, "first_seed": settings.validation_seed}
    options: Any = parts.noise
    draws, shape = options.draws_per_world, parts.policy.noise_shape
    under = "several noises" if len(noises) > 1 else "its own noise"
    most = f"{settings.validation_episodes * most_evaluations(noises, draws)} episodes at most"
    screen.phase(f"noise=auto: the base policy on {settings.validation_episodes} worlds, under {under}, {most} …")

    def played(act: Act) -> Evaluation:
        return play(parts, act, screen, **worlds, signals=signals)

    return choose_noise(noises, shape, played, draws=draws, largest_loss=options.largest_loss)


def candidates(cfg: DictConfig, parts: Parts) -> dict[str, Node]:
    """Return the noises to choose from, as typed -> node, smallest first; the last has the base policy's own prior.

    That is `per_step` where fewer steps than slots are executed, and `full` elsewhere.
    """
    slots, horizon = parts.policy.noise_shape[0], parts.env.horizon
    shared = {"_partial_": True, "magnitude": cfg.noise.magnitude, "action_dims": cfg.noise.action_dims}
    zero = {**shared, "unsteered": "zero"}
    nodes: dict[str, Node] = {"noise=repeat": {"_target_": "dsrl.noise.repeat.RepeatNoise", **zero}}
    per_step = horizon < slots and parts.settings.best_of is None  # best_of cannot value numbers that are drawn besides
    for rank in smooth_ranks((horizon if per_step else slots) // 2 + 1):
        smooth = {"_target_": "dsrl.noise.smooth.SmoothNoise", **zero, "rank": rank}
        nodes[f"noise=smooth noise.rank={rank}"] = smooth
    if per_step:
        last = {"_target_": "dsrl.noise.per_step.PerStepNoise", **shared, "horizon": "executed", "unsteered": "fresh"}
        return {**nodes, "noise=per_step": last}
    return nodes if slots == 1 else {**nodes, "noise=full": {"_target_": "dsrl.noise.full.FullNoise", **zero}}
