"""Gives a run the transitions of `offline_data`, and noise of their actions where its algorithm learns from noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dsrl.run.components.parts import MeasuresNoise, Parts, reads_instruction
from dsrl.run.config.settings import Settings
from dsrl.run.terminal.errors import user_errors
from dsrl.training.noise_inversion import ClonesNoise
from dsrl.training.offline_data import OfflineData
from dsrl.training.offline_range import outside_range


def with_offline_data(parts: Parts, announce: Callable[[str], None]) -> Parts:
    """Return the parts with the transitions of `offline_data`, where that is given, and noise of their actions.

    Raises UserError where they do not fit the task, or the algorithm cannot learn from them.
    """
    settings, algorithm = parts.settings, parts.algorithm
    if settings.offline_data is None:
        return parts
    with user_errors():
        if not isinstance(algorithm, ClonesNoise):
            raise ValueError(
                f"offline_data={settings.offline_data} is not used by {type(algorithm).__name__}; "
                "choose sac=dsrl_sac or sac=dsrl_na, or offline_data=null"
            )
        _check_drawn(settings)
        offline = OfflineData(settings.offline_data, parts.env)
        if settings.offline_cloning_updates and not offline.successes:
            raise ValueError(
                f"offline_cloning_updates={settings.offline_cloning_updates} clones episodes that succeed, and "
                f"offline_data={settings.offline_data} has none; type offline_cloning_updates=0"
            )
    announce(
        f"{settings.offline_data}: {len(offline)} decisions of {offline.num_episodes} episodes, "
        f"{offline.successes} of which succeed"
    )
    outside = outside_range([one.chunk for one in offline.transitions], parts.task)
    if outside is not None:
        announce(f"{settings.offline_data}: {outside}")
    parts = replace(parts, offline=offline)
    find_offline_noise(parts, announce)
    return parts


def other_sentences(parts: Parts) -> str | None:
    """Return a sentence where the policy reads instructions and the worlds, once observed, have none of the data's."""
    data, seen = parts.offline, parts.env.observed
    if data is None or seen is None or not reads_instruction(parts.policy):
        return None
    recorded, live = data.sentences, sorted(set(seen.instruction))
    if not any(recorded) or set(recorded) & set(live):
        return None
    return (
        f"{parts.settings.offline_data} has the instruction {recorded[0]!r} but the worlds {live[0]!r}; "
        "with other words the policy plays otherwise (task.instruction is that of task=gym)"
    )


def find_offline_noise(parts: Parts, announce: Callable[[str], None]) -> None:
    """Find noise of the recorded actions, where the algorithm learns from it and noise=auto has chosen its numbers."""
    learns = parts.algorithm.replay == "noise" or parts.settings.offline_cloning_updates
    if parts.offline is not None and learns and not isinstance(parts.noise, MeasuresNoise):
        with user_errors():
            fidelity = parts.offline.invert()
        announce(f"{parts.settings.offline_data}: {fidelity}")


def _check_drawn(settings: Settings) -> None:
    """Raise ValueError where nothing is ever drawn of `offline_data`; without warm-up, features are scaled by it."""
    if settings.offline_share == 0 and settings.warmup_decisions and not settings.offline_cloning_updates:
        raise ValueError(
            f"offline_share=0 draws nothing of offline_data={settings.offline_data}; type a larger offline_share, or "
            "offline_data=null"
        )
