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
    warmup, decisions, every, worlds = (
        settings.warmup_decisions,
        settings.decisions,
        settings.eval_every,
        settings.num_envs,
    )
    resets = [warmup, *(min(decisions, every * (warmup // every + number)) for number in (1, 2))]
    played = max(end - begin for begin, end in pairwise(resets)) // worlds
    if decisions <= warmup or played >= longest_episode:
        return None
    enough = max(every, longest_episode * worlds)
    least = {"eval_every": enough, "decisions": max(decisions, enough * (warmup // enough + 2))}
    typed = " ".join(f"{name}={value}" for name, value in least.items() if value != getattr(settings, name))
    return (
        f"an episode takes up to {longest_episode} decisions, but after warm-up each of {worlds} worlds is reset after "
        f"{played} at most, by validations or the end: longer training episodes are cut short, train/return leaves "
        f"them out, and later time steps are never learnt from; {typed} would play whole episodes"
    )
