"""Ends the program with one sentence where something typed cannot work: what was found, and what would work."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeGuard

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import Container, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from dsrl.run.terminal import choices
from dsrl.run.terminal.installed import as_typed
from dsrl.run.terminal.printable import printable
from dsrl.run.terminal.renamed import NEEDLESS, new_names
from dsrl.run.terminal.standard_output import lasting_output
from dsrl.run.terminal.typed_words import (
    check_flags,
    check_keys,
    check_sweep,
    flags_last,
    of_hydra,
    unreadable,
    with_home,
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of the system where a file cannot become longer."""

MENDED_BY = {  # error number of the system -> the first thing to do
    **dict.fromkeys(NO_ROOM, "make room"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it readable and writable"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "put it back"),
    **dict.fromkeys((errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP), "remove what is in its place"),
}

NO_TRIAL = ("No trials are completed yet", "Record does not exist")
"""What Optuna says after the last trial of a search where none has finished; with a database it is the second."""

FLAGS_REFUSED = {  # start of Hydra's message -> ours
    "The --resolve flag": "--resolve changes only what --cfg or --help shows; type --cfg job too, or leave it out",
    "Only one of --run": "only one of --run, --multirun, --cfg, --info and --shell-completion can be typed; leave the "
    "others out",
}

OWN = (ValueError, FileNotFoundError, FloatingPointError)
"""Errors that our own checks raise, with one sentence."""


class UserError(Exception):
    """Something that the user typed cannot work; the message is one sentence that says what would."""


def run(main: Callable[[], Any]) -> None:
    """Call a `hydra.main` function; raises SystemExit with one sentence where Hydra cannot compose its config."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print several lines of its own and end the program itself
    with lasting_output():
        _run(main)


def _run(main: Callable[[], Any]) -> None:
    try:
        _check_working_directory()
        with user_errors():
            check_flags(sys.argv[1:])
            check_keys(sys.argv[1:])
            check_sweep(sys.argv[1:])
        sys.argv[1:] = flags_last(with_home(sys.argv[1:]))
        main()
    except (HydraException, OmegaConfBaseException, UserError) as error:
        raise SystemExit(f"error: {sentence(explain(error))}") from None
    except OSError as error:
        if "usable temporary directory" in str(error):  # Python writes a file into each to try it
            raise SystemExit(
                "error: no room for temporary files in any folder; make room and type the command again"
            ) from None
        if error.errno is None:
            raise
        raise SystemExit(f"error: {system_error(error, 'what Hydra writes first', 'type the command again')}") from None
    except ValueError as error:
        found = _of_hydra(str(error))
        if found is None:
            raise
        raise SystemExit(f"error: {sentence(found)}") from None
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def _check_working_directory() -> None:
    """Raise UserError where the folder in which the command was typed has been removed: nothing can be found there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was removed; cd to another and type the command again") from error


def _of_hydra(message: str) -> str | None:
    """Word a ValueError of Hydra and its plugins in one sentence; None for one that is not theirs."""
    if any(text in message for text in NO_TRIAL):
        return "no trial of this search has finished; the lines above say why"
    if message.startswith("Config group override must be"):  # for what is no text: sac=null, sac=1
        return no_choice(sys.argv[1:])
    return next((found for start, found in FLAGS_REFUSED.items() if message.startswith(start)), None)


def sentence(error: object) -> str:
    """Return a message on one line, with the commands of this installation.

    It has no control characters, by which a file's text could drive the terminal.
    """
    return as_typed(" ".join(printable(str(error)).split()))


def type_and_text(error: BaseException) -> str:
    """Return `Type: message` on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_of_system(error: BaseException) -> TypeGuard[OSError]:
    """Return whether the system refused a file, which `system_error` words; a pipe that nobody reads is none."""
    return isinstance(error, OSError) and error.errno is not None and error.errno != errno.EPIPE


def system_error(error: OSError, place: Any, again: str) -> str:
    """Word an error of the system in one sentence: the file, or `place` without one, and how the run continues."""
    first = MENDED_BY.get(error.errno or 0, "mend that")
    return f"{error.filename or place} cannot be read or written ({error.strerror}); {first}, then {again}"


def explain(error: Exception) -> str:
    """Word an error of composing a config in one sentence."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        offered = [name for name in sorted(error.options) if not name.startswith("_")]
        return f"{group}={choice} is not known; choose one of {', '.join(offered)}"
    if isinstance(error, OverrideParseException):
        return unreadable(str(error.override))
    cause = error.__cause__
    if isinstance(cause, UserError):
        return str(cause)
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, ListConfig):
        key = str(cause.full_key).partition("[")[0]
        return f"{key} is a list; type {key}=[…], or leave it out"
    if isinstance(cause, ValidationError):
        return _wrong_value(cause)
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, Container):
        typed = re.search(r"Could not override '([^']+)'", str(error))
        return _unknown_key(str(cause.full_key), cause.parent_node, typed[1] if typed else "")
    group_typed = re.search(r"Could not override '(\S+)'.*?No match", str(error), re.DOTALL)
    if group_typed and group_typed[1] in choices.groups():  # train.py has all of them
        return _of_the_run(group_typed[1])
    if group_typed:
        return f"{group_typed[1]} is no key and no group; python train.py --help lists both"
    if isinstance(error, OmegaConfBaseException):
        return _unresolved(error)
    message = " ".join(str(error).split())
    return of_hydra(message) or message


def no_choice(words: Iterable[str]) -> str:
    """Return the sentence for the first of the words, all of which Hydra can read, whose group is no name: sac=null."""
    typed = [word for word in words if "=" in word and not word.startswith("-")]
    for one in OverridesParser.create().parse_overrides(typed):
        offered = choices.names(one.key_or_group) if one.key_or_group in choices.groups() else []
        values = (
            list(one.sweep_iterator(Transformer.encode))
            if one.is_sweep_override()
            else [one.get_value_element_as_str()]
        )
        wrong = [value for value in values if value not in offered]
        if offered and wrong:
            text = f"{one.key_or_group}={wrong[0]}"
            return f"{text} is not known; choose one of {', '.join(offered)}, or leave it out"
    return "the choice of a group is null or a number; type a name, python train.py --help lists them"


def _unresolved(error: OmegaConfBaseException) -> str:
    return f"{error.full_key or 'config'}: {str(error).splitlines()[0]}"


def _wrong_value(error: ValidationError) -> str:
    """Word that a key of Hydra, which alone have types, cannot have a value, and name the values or keys that work."""
    key = error.full_key
    inner = _keys(error.parent_node, str(error.key)) if isinstance(error.parent_node, Container) else []
    if inner:
        return f"{key} is a group of keys; type one of {', '.join(f'{key}.{name}' for name in inner)}"
    found = re.search(r"alue '([^']*)'(?:, expected one of \[(.+)\]| is not a valid bool)", str(error))
    if found is None:
        return _unresolved(error)
    return f"{key}={found[1]} must be {f'one of {found[2]}' if found[2] else 'true or false'}"


def _unknown_key(full_key: str, parent: Container, typed: str) -> str:
    """Word that a key is no option: its new name, the choice that has it, its place, a near one, or all there are.

    `full_key` is the first part of the `typed` key that is missing, such as env of env.n_envs.
    """
    where, _, key = full_key.rpartition(".")
    if typed.startswith(f"{full_key}.") and not where and full_key not in choices.groups():  # a group of other code
        full_key, key = typed, typed.rpartition(".")[2]
    known = [str(name) for name in parent] if hasattr(parent, "keys") else []
    prefix = f"{where}." if where else ""
    if not where and key in NEEDLESS:
        return f"{full_key} is no option, and nothing here needs it; leave it out"
    renamed = new_names(full_key, [*choices.groups(), *choices.top_level()] if where else known)
    if renamed:
        return f"{full_key} is not the name of this option; type {' or '.join(renamed)}"
    if not where and "checkpoint" in known and key in (*choices.groups(), *choices.top_level()):
        return _of_the_run(f"{key}.…" if key in choices.groups() else key)
    if where in choices.top_level():
        return f"{full_key} is no option, because {where} has no keys; type {where}=…"
    if not where and "checkpoint" not in known and key in choices.keys_of_eval():
        return f"{key} is an option of eval.py, which evaluates a run; python eval.py --help lists all of them"
    having = _choices_with(full_key)
    if having:
        return f"{full_key if where else full_key + '.…'} needs {' or '.join(having)}; type that too"
    if key in known:
        return f"{full_key} cannot be removed; leave ~{full_key} out"
    deeper = [] if where else [f"{name}.{key}" for name in known if key in _keys(parent, name)]
    near = deeper or [prefix + name for name in get_close_matches(key, known, n=1)]
    if near:
        return f"{full_key} is no option; did you mean {' or '.join(near)}?"
    if known and not where:
        return f"{full_key} is no option; python {'eval.py' if 'checkpoint' in known else 'train.py'} --help lists all"
    listed = f"choose one of {', '.join(prefix + name for name in known)}" if known else f"type +{full_key}=… to add it"
    return f"{full_key} is no option; {listed}"


def _of_the_run(key: str) -> str:
    """Word that eval.py does not take a key of train.py."""
    return (
        f"{key} is no option of eval.py, where all but its own keys come from the run's config; "
        f"leave it out, python eval.py --help lists those keys"
    )


def _choices_with(full_key: str) -> list[str]:
    """List the choices, such as logging=wandb, that have a key which the composed config lacks."""
    group, _, option = full_key.partition(".")
    if group not in choices.groups():
        return []
    having = choices.with_option(group, option) if option else [name for name in choices.names(group) if name != "none"]
    return [f"{group}={name}" for name in having]


def _keys(parent: Container, name: str) -> list[str]:
    node = OmegaConf.to_container(parent, resolve=False)
    inner = node.get(name) if isinstance(node, dict) else None
    return [str(key) for key in inner] if isinstance(inner, dict) else []


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the errors of our own checks into UserError; all others are mistakes of ours and pass with a traceback."""
    try:
        yield
    except (InstantiationException, OmegaConfBaseException, *OWN) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, OmegaConfBaseException):
            raise UserError(_unresolved(cause)) from error
        if not isinstance(cause, OWN):
            raise
        raise UserError(str(cause)) from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the program with the sentence alone where the user can mend it: other values, or something to install.

    In a sweep the launcher has to receive the exception.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    try:
        yield
    except (UserError, ImportError) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(f"error: {sentence(error)}") from None
