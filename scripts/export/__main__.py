"""Writes the steered policy of a run as a lerobot policy of type dsrl, which lerobot-eval and lerobot's robots run.

    python -m scripts.export run=outputs/2026-01-31/12-00-00 out=my_policy
    python -m scripts.export run=outputs/2026-01-31/12-00-00 out=my_policy --copy-base     # with the base policy inside
    python -m scripts.export run=outputs/2026-01-31/12-00-00 out=my_policy --push me/my_policy

    uv pip install ./plugins/lerobot_policy_dsrl && lerobot-eval --policy.path=my_policy --env.type=pusht

Writes config.json, model.safetensors, steering.json, the processors, and README.md, the model card. The base policy is
named by its path or hub id and its sha256.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts._options import Parser, ending_in_a_sentence, new_folder
from scripts.export.hub import repository_name

KEYS = ("run", "out", "checkpoint", "plugins", "files")


def main(arguments: Sequence[str] | None = None) -> None:
    """Export and, where it is typed, push."""
    parser = Parser(prog="python -m scripts.export", description=__doc__)
    parser.add_argument("keys", nargs="*", metavar="key=value",
                        help="run=<folder of a run> out=<new folder>; checkpoint=best or last, also where "
                        "the run returned its base policy; plugins=[my_package] where the task is of one; "
                        "files=[…] that task.env_kwargs names")  # fmt: skip
    parser.add_argument("--copy-base", action="store_true", help="copy the base policy into the folder")
    parser.add_argument("--push", metavar="OWNER/NAME", type=repository_name,
                        help="upload the folder to this repository of the hub; "
                        "a base policy that is a folder of yours needs --copy-base")  # fmt: skip
    options = parser.parse_intermixed_args(arguments)
    keys = _keys(options.keys, parser)
    plugins, files = (_listed(keys, key, parser) for key in KEYS[3:])
    with ending_in_a_sentence(ValueError, OSError, ImportError):
        from dsrl.run.config.plugins import plugins_of
        from scripts.export.folder import export

        out = new_folder(keys["out"])
        checkpoint, given = keys.get("checkpoint", "returned"), plugins_of({"plugins": plugins})
        again = export(Path(keys["run"]), out, checkpoint=checkpoint, copy_base=options.copy_base,
                       pushed=options.push is not None, plugins=given, files=files)  # fmt: skip
        plays = "lerobot plays it in the run's test worlds:"
        if not again.startswith("lerobot-eval"):
            plays = "lerobot has no environment of this run's task; play it in Python (docs/export.md):"
        print(f"written to {out}; {plays}\n{again}")
        if options.push:
            from scripts.export.hub import push

            print(f"pushed to {push(out, options.push)}")


def _listed(keys: Mapping[str, str], key: str, parser: argparse.ArgumentParser) -> list[str]:
    """Return the texts of a list as eval.py reads it, with or without its brackets; none where it is not typed."""
    text = keys.get(key, "[]")
    return [str(one) for one in _read(f"{key}={text if text.startswith('[') else f'[{text}]'}", parser)]


def _keys(typed: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the values of keys that were typed as key=value."""
    from dsrl.run.terminal.typed_words import with_home

    found = {}
    for text in with_home(typed):
        key, equals, value = text.partition("=")
        value = str(_read(text, parser)) if value.startswith(("'", '"')) else value
        if not equals or key not in KEYS or not value:
            parser.error(f"{text} is no option; type run=<folder of a run> out=<new folder>")
        found[key] = value
    for key in KEYS[:2]:
        if key not in found:
            parser.error(f"{key} is missing; type run=<folder of a run> out=<new folder>")
    if found.get("checkpoint", "best") not in ("best", "last"):
        parser.error(f"checkpoint={found['checkpoint']} must be best or last")
    try:
        new_folder(found["out"])
    except argparse.ArgumentTypeError as error:
        parser.error(f"out={error}")
    return found


def _read(text: str, parser: argparse.ArgumentParser) -> Any:
    """Return the value of a key=value as eval.py reads it and train.py prints it: a text in quotes, or a list."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from dsrl.run.terminal.typed_words import unreadable

    try:
        return OverridesParser.create().parse_override(text).value()
    except HydraException:
        parser.error(unreadable(text))


if __name__ == "__main__":
    main()
