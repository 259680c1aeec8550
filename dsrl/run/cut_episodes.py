"""Warns where validations come so often that they cut every longer training episode short.

A validation begins new episodes in all worlds. Where the task's longest episode does not fit between two of them, the
actor never plays its late time steps, and the returns of training are those of the episodes that happened to end early.
"""

from __future__ import annotations

from itertools import pairwise

from dsrl.run.settings import Settings


def cut_episodes(settings: Settings, longest_episode: int) -> str | None:
    """Return a sentence where no episode of `longest_episode` decisions fits between two resets; None where one does.

    It names the least `eval_every` and `decisions` that leave room for one, whatever the warm-up.
    """
    warmup, every, worlds = settings.warmup_decisions, settings.eval_every, settings.num_envs
    first = every * (warmup // every + 1)  # validation after the one that ends warm-up
    resets = [min(number, settings.decisions) for number in (warmup, first, first + every)]
    played = max(end - begin for begin, end in pairwise(resets)) // worlds
    if settings.decisions <= warmup or played >= longest_episode:
        return None
    needed = longest_episode * worlds
    enough = max(every, needed)
    first = enough * (warmup // enough + 1)
    least = needed + (warmup if warmup + needed <= first else first)
    named = {"eval_every": enough, "decisions": max(settings.decisions, least)}
    typed = " ".join(f"{name}={value}" for name, value in named.items() if value != getattr(settings, name))
    return (
        f"an episode takes up to {longest_episode} decisions, but after warm-up each of {worlds} worlds is reset after "
        f"{played} at most, by validations or the end: the actor never plays what comes later, and train/return is of "
        f"episodes that ended before; {typed} would play whole ones"
    )
