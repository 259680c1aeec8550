"""Labels methods and tasks by short texts: different ones never have equal labels, however long their words are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count, takewhile

from scripts.compare.run_files import one_line

LONGEST = 160  # characters of a label, without the number that tells equal ones apart
VALUES = (60, 30, 15)  # characters of a value; the first with which every label fits, or the last
WHOLE = 2**20  # characters: more than a config has


@dataclass(frozen=True)
class Word:
    """One difference between methods: a key and its value, or a value that needs no key."""

    key: str  # "" for a value alone
    value: str  # as Python writes it: the number 1 and the text "1" differ
    text: str


def labels(methods: Iterable[tuple[Word, ...]]) -> dict[tuple[Word, ...], str]:
    """Return a label of at most about `LONGEST` characters for every method."""
    distinct = tuple(dict.fromkeys(methods))
    texts: dict[tuple[Word, ...], str] = {}
    for length in VALUES:
        texts = _texts(distinct, length)
        if all(len(text) <= LONGEST for text in texts.values()):
            break
    return shortened(texts, LONGEST)


def shortened[K](texts: Mapping[K, str], length: int) -> dict[K, str]:
    """Return about `length` printable characters of each text, no two of them equal.

    Long texts lose what they have in common at their beginning, as the paths of two checkpoints do; those that are
    still equal get a number.
    """
    clean = {key: one_line(text, WHOLE) for key, text in texts.items()}
    start = _first_difference([text for text in clean.values() if len(text) > length], length)
    return _numbered({key: _cut(text, start, length) for key, text in clean.items()})


def _texts(methods: Iterable[tuple[Word, ...]], length: int) -> dict[tuple[Word, ...], str]:
    values: dict[str, dict[str, str]] = {}
    for word in (word for words in methods for word in words):
        values.setdefault(word.key, {})[word.value] = word.text
    short = {key: shortened(texts, length) for key, texts in values.items()}
    return {
        words: " ".join((f"{word.key}=" if word.key else "") + short[word.key][word.value] for word in words)
        for words in methods
    }


def _first_difference(texts: list[str], length: int) -> int:
    """Return where to begin so that the difference shows: at its part of a path, or 0 where it shows anyway."""
    if len(set(texts)) < 2:
        return 0
    pairs = zip(min(texts), max(texts), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if shared <= length // 2:
        return 0
    part = max(texts[0].rfind(mark, 0, shared) for mark in "/ ") + 1
    return max(part, shared - length // 2)


def _cut(text: str, start: int, length: int) -> str:
    if len(text) <= length:
        return text
    return ("…" if start else "") + text[start : start + length] + ("…" if len(text) > start + length else "")


def _numbered[K](texts: Mapping[K, str]) -> dict[K, str]:
    times = Counter(texts.values())
    taken = {text for text, number in times.items() if number == 1}
    labels: dict[K, str] = {}
    for key, text in texts.items():
        if times[text] > 1:
            text = next(label for number in count(1) if (label := f"{text} ({number})") not in taken)
            taken.add(text)
        labels[key] = text
    return labels
