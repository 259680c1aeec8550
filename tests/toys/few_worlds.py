"""The guessing task as one whose worlds repeat, as LIBERO's numbered initial states do."""

from __future__ import annotations

from toys.guess import Guess


class FewGuesses(Guess):
    """The guessing task, which has ten worlds, and says so."""

    num_worlds: int | None = 10
    other_worlds = "type task.id=1 for another task"
