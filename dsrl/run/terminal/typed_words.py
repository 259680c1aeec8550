"""Reads the words of a command as shells would: ~ as the home folder, and quotes where Hydra needs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from dsrl.run.terminal.installed import typed_option

HYDRA_FLAGS = ("help", "hydra-help", "version", "cfg", "resolve", "package", "run", "multirun", "shell-completion",
               "config-path", "config-name", "config-dir", "experimental-rerun", "info")  # fmt: skip
_SHORT = re.compile(r"-(?:[hrm]*(?:[hrm]|c(?:job|hydra|all)?|p[^=]*|i[a-z-]*)|s|sc|cp|cn|cd|(?:c|p|i|cp|cn|cd)=.*)")
"""Hydra's flags with one dash, alone, together or with a value: -m, -mr, -c, -cjob, -cn=train."""
_TAKES_A_VALUE = re.compile(r"-[hrm]*[cpi]|-c[pnd]|--(?:cf|config-|p|e|i)[a-z-]*")
"""Hydra's flags, whole or shortened, whose value is the next word: -c job, -mc job, --cfg job."""
_MAY_TAKE_ONE = re.compile(r"-[hrm]*i|--i[a-z]*")
_KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@:]*", re.ASCII)
_NO_KEY = re.compile(r"[+~]{0,2}(?:@[^=]*)?(?:=|\Z)")

_ADVICE = {  # message of Hydra -> ours
    r"In '(\w+)/([^']+)': Could not override '([\w/]+)@\1\..*": r"\1/\2 overrides \3 within \1, where none is; write "
    "`# @package _global_` as the first line of its file",
    r"BasicSweeper does not support sweep type.*": "an interval is for a search alone; type hparams=optuna too, or "
    "several values as key=a,b",
    r"Sweep parameters '(.*\binterval\(.*)' requires.*": r"\1 is for a search; type hparams=optuna too",
    r"Sweep parameters '(.*)' requires.*": r"\1 has several values; type -m too for a run of each",
    r"Could not delete '([^'=]+)=([^']*)'.*": r"~\1=\2 removes nothing, because another \1 is chosen; leave it out",
    r"Could not delete from config\. The value of '(\S+)' is (.*) and not (.*)\.": r"~\1=\3 removes nothing, because "
    r"\1=\2; leave it out",
    r"Could not delete(?: from config\.)? '([^']+)'.*": r"~\1 removes nothing, there is no such option; leave it out",
    r"Cannot find primary config '([^']*)'.*": r"there is no config \1; leave out -cn (--config-name) and -cp "
    "(--config-path)",
    r"Primary config directory not found.*": "the folder of -cp (--config-path) is not there; leave it out",
}


def with_home(words: Iterable[str]) -> list[str]:
    """Return the same words with key=~ and key=~/… leading to the home folder, which shells replace in some words only.

    Hydra's grammar has no unquoted ~ in a value, so that no word changes its meaning.
    """
    return [re.sub(r"^([^=\s]+=)~(?=/|$)", lambda found: found[1] + str(Path.home()), word) for word in words]


def flags_last(words: Iterable[str]) -> list[str]:
    """Return the same words with Hydra's flags and their values at the end, where they may stand between keys too.

    Hydra's parser refuses keys of which some stand before a flag and some behind it.
    """
    keys: list[str] = []
    flags: list[str] = []
    words = list(words)
    for before, word in zip(["", *words], words, strict=False):
        is_value = _TAKES_A_VALUE.fullmatch(before) and not ("=" in word and _MAY_TAKE_ONE.fullmatch(before))
        (flags if word.startswith("-") or is_value else keys).append(word)
    return [*keys, *(flag for flag in flags if flag != "--")]


def check_flags(words: Iterable[str]) -> None:
    """Raise ValueError for --task=pendulum, --task and -x, which other programs take and Hydra's parser does not."""
    for word in words:
        if re.match("-[^-]", word) and not _SHORT.fullmatch(word):
            name, equals, value = word[1:].partition("=")
            advice = f"{name}={value if equals else '…'}, without the dash"
            raise ValueError(f"{word} is no option; type {advice if name[1:] else 'key=value, --help lists the keys'}")
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name and not any(flag.startswith(name) for flag in HYDRA_FLAGS):
            raise ValueError(f"{word} is no option; type {name}={value if equals else '…'}, without the dashes")


def check_keys(words: Iterable[str]) -> None:
    """Raise ValueError for =3 and the like, which Hydra reads as the choice of a group without a name."""
    for word in words:
        if word and _NO_KEY.match(word):
            raise ValueError(f"{word} has no key; type for example seed=3, --help lists the keys")


def check_sweep(words: Iterable[str]) -> None:
    """Raise ValueError for what Hydra's sweepers take in files alone, and for samplers without the search's options."""
    words = list(words)
    for word in words:
        ranges = re.fullmatch(r"[+~]*hydra\.sweeper\.params(?:\.([^=]*))?(?:=(.*))?", word, re.DOTALL)
        if ranges:
            typed = shlex.quote(f"{ranges[1]}={ranges[2]}") if ranges[1] and ranges[2] else "key=value"
            raise ValueError(f"{word} is for files alone; type {typed}, also for several values or a range")
        sampler = re.fullmatch(r"[+]*hydra/sweeper/sampler=(.*)", word)
        if sampler and sampler[1] != "tpe" and "hparams=optuna" in words:
            raise ValueError(
                f"{word} is not for hparams=optuna, whose options are those of tpe; leave it out "
                "(hparams.n_startup_trials as large as hparams.n_trials draws all at random)"
            )


def of_hydra(message: str) -> str | None:
    """Word a message of Hydra about a word that it has read, with what to type; None for any other message."""
    chosen_twice = re.match(r"Multiple values for \S+ To override a value use 'override (\S+): (\S+)'", message)
    chosen_twice = chosen_twice or re.match(r"force-add of config groups is not supported: '\+\+(\S+)=(.*)'", message)
    if chosen_twice:
        return f"{chosen_twice[1]} has a choice already; type {chosen_twice[1]}={chosen_twice[2]}, without a plus"
    several = re.match(r"Ambiguous value for argument '([^=]+)=(.*?)'\s", message)
    if several:
        key, text = several.groups()
        one_text = typed_option(key, text)
        return f"{key}={text} has several values; type -m too for a run of each, or, where it is one text, {one_text}"
    found = ((re.fullmatch(pattern, message), ours) for pattern, ours in _ADVICE.items())
    return next((match.expand(ours) for match, ours in found if match), None)


def unreadable(word: str) -> str:
    """Return the sentence for a `word` that Hydra cannot read, with what to type."""
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word} is no key=value; type for example task=pendulum, --help lists keys and choices"
    if not _KEY.fullmatch(key) and not key.isascii():
        return f"{key} is no key, all of which are plain letters, digits and _ . / @; --help lists them"
    if not _KEY.fullmatch(key):
        return f"{word} is no key=value; type key and value without spaces around =, --help lists the keys"
    if re.search("[\udc80-\udcff]", value):  # bytes that the locale cannot decode: printed, they are blanks
        return (
            f"{word} has characters that this locale cannot show; type PYTHONUTF8=1 before the command, or plain ones"
        )
    if value.endswith(","):
        return f"{word} ends with a comma; type {key}={value.rstrip(',')}"
    if value.startswith(("[", "{")):
        closing = "]" if value.startswith("[") else "}"
        whole = f"'{key}={value[0]}…{closing}'"
        return f"{word} is no complete list or dictionary; type {whole}, special text in it in quotes"
    return f"{word} has characters that need quotes of their own; type {typed_option(key, value)}"
