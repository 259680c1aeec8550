"""A run whose validations leave no room for a whole training episode begins with a sentence about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toys.runs import toy_parts

from dsrl.run.components.build import check_budget
from dsrl.run.components.cut_episodes import cut_episodes


@pytest.mark.parametrize(
    ("warmup", "decisions", "eval_every", "typed"),
    [
        (100, 300, 100, "decisions=500"),  # 50 decisions of each of 4 worlds, of up to 100
        (1000, 1300, 10000, "decisions=1400"),
        (2000, 6000, 4000, "decisions=6400"),  # a validation half-way: 500 and 500, of up to 600
        (100, 9000, 2400, None),
        (2000, 25000, 2500, None),
        (100, 100, 10, None),  # the actor never plays
    ],
)
def test_decisions_are_named_that_leave_room_for_an_episode(
    warmup: int, decisions: int, eval_every: int, typed: str | None
) -> None:
    longest = 600 if eval_every == 4000 else 100
    typed_now = {"warmup_decisions": warmup, "decisions": decisions, "eval_every": eval_every, "num_envs": 4}
    settings = replace(toy_parts().settings, **typed_now)
    sentence = cut_episodes(settings, longest)
    assert (sentence is None) == (typed is None)
    if sentence is not None and typed is not None:
        assert f"; {typed}, or a smaller num_envs, would play whole ones" in sentence
        better = cut_episodes(replace(settings, decisions=int(typed.partition("=")[2])), longest)
        assert better is None or "validations come every" in better


def test_validations_that_wait_for_an_episode_are_announced() -> None:
    typed = {"warmup_decisions": 100, "decisions": 9000, "eval_every": 399, "num_envs": 4}
    settings = replace(toy_parts().settings, **typed)
    assert "validations come every 400 decisions instead of eval_every=399" in str(cut_episodes(settings, 100))
    assert cut_episodes(replace(settings, eval_every=400), 100) is None


def test_the_check_of_the_budget_announces_it() -> None:
    parts = toy_parts()
    announced: list[str] = []
    for eval_every in (parts.settings.eval_every, 1):
        check_budget(replace(parts, settings=replace(parts.settings, eval_every=eval_every)), announced.append)
    (sentence,) = announced
    assert sentence.startswith(f"an episode takes up to {parts.env.longest_episode} decision")


def test_a_run_with_threads_or_batches_that_gain_nothing_begins_with_a_sentence_about_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    announced: list[str] = []
    parts = toy_parts()
    for threads, batch_size in ((2, 600), (None, 32), (3, 601)):
        assert not announced
        settings = replace(parts.settings, threads=threads, batch_size=batch_size)
        check_budget(replace(parts, settings=settings), announced.append)
    assert announced == [
        "threads=3 on a machine of 2 cores makes torch slower; threads=2 is the most that helps",
        "batch_size=601 is more than the 600 transitions that replay will have in the end: every batch repeats them; "
        "a batch_size of 600 or less takes less time",
    ]
