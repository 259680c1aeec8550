"""Says where validations wait for whole training episodes, and where the run is too short for one.

A validation begins new episodes in all worlds. Where the task's longest episode does not fit between two of them, the
actor would never play its late decisions, so that validations wait (`dsrl.training.validation_schedule`).
"""

from __future__ import annotations

from itertools import pairwise

from dsrl.run.config.settings import Settings
from dsrl.training.validation_schedule import decisions_apart


def cut_episodes(settings: Settings, longest_episode: int) -> str | None:
    """Return a sentence for episodes of up to `longest_episode` decisions; None where nothing waits or is cut short.

    It names the least `decisions` that leave room for one after warm-up.
    """
    warmup, every, worlds = settings.warmup_decisions, settings.eval_every, settings.num_envs
    needed = longest_episode * worlds
    apart = decisions_apart(every, worlds, longest_episode)
    waits = apart > every
    first = warmup + needed if waits else every * (warmup // every + 1)  # validation after the one that ends warm-up
    resets = [min(number, settings.decisions) for number in (warmup, first, first + apart)]
    played = max(end - begin for begin, end in pairwise(resets)) // worlds
    if settings.decisions <= warmup:
        return None
    if played < longest_episode:
        least = needed + (warmup if warmup + needed <= first else first)
        return (
            f"an episode takes up to {longest_episode} decisions, but after warm-up each of {worlds} worlds is reset "
            f"after {played} at most: the actor never plays what comes later, and train/return is of episodes that "
            f"ended before; decisions={least}, or a smaller num_envs, would play whole ones"
        )
    if waits:
        return (
            f"an episode takes up to {longest_episode} decisions in each of {worlds} worlds, and a validation begins "
            f"new ones: validations come every {apart} decisions instead of eval_every={every}; a smaller num_envs "
            f"makes them more frequent"
        )
    return None
