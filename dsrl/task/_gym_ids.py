"""Makes a gymnasium environment of an id, also of one that an installed package registers when it is imported.

    Pendulum-v1                       gymnasium's own
    gym_pusht/PushT-v0                of the package gym_pusht: the namespace is its name
    metaworld:Meta-World/MT1          the package before the colon, as for gymnasium.make

A saved config may come from somebody else, so only a package that is installed and depends on gymnasium is imported.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from typing import Any

import gymnasium

from dsrl.task._mujoco_drawing import choose_egl

PAGE = "docs/own_environment.md"


def make(id: str, max_steps: int | None, env_kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make one environment; `max_steps` None keeps the time limit of its registration.

    Raises ValueError where nothing is registered under `id` or it does not take `env_kwargs`, ImportError where it
    needs a package that is not installed.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        choose_egl()
    package, _, name = id.rpartition(":")
    namespace = name.rpartition("/")[0]
    if id.startswith(":"):
        raise ValueError(f"task.id={id!r} names no package before the colon; type task.id={name}")
    if package:
        _import(id, package)
    elif namespace and not _registered(namespace) and _registers(namespace):
        _import(id, namespace)
    try:
        with needing_packages(id), _suiting(id, env_kwargs):
            env = gymnasium.make(name, max_episode_steps=max_steps, **env_kwargs)
    except gymnasium.error.Error as error:
        advice = f"type a registered id such as Pendulum-v1, or task.id=<module>:{name} where a module of yours "
        advice += f"registers it ({PAGE})"
        if package:
            advice = f"type an id that {package} registers when it is imported"
        elif namespace and not _registered(namespace):
            advice = f"install the package that registers it and type task.id=<package>:{name}"
        raise ValueError(f"task.id={id!r} cannot be made by gymnasium ({error}); {advice}") from error
    mode, modes = env_kwargs.get("render_mode"), env.metadata.get("render_modes", [])
    if mode is not None and mode not in modes:
        raise ValueError(f"task.env_kwargs.render_mode={mode} is none of task.id={id}; type one of {', '.join(modes)}")
    return env


@contextmanager
def needing_packages(id: str) -> Iterator[None]:
    """Raise ImportError, which names `task.id`, for a package that an environment needs and that is not installed."""
    try:
        yield
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        reason = " ".join(str(error).split())[:300]
        raise ImportError(
            f"task.id={id} needs a package that is not here ({reason}); install it, or type another task.id"
        ) from error


@contextmanager
def _suiting(id: str, env_kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Raise ValueError for what an environment, of any simulator, raises while it is made, an exit among it."""
    try:
        yield
    except (gymnasium.error.Error, ImportError):
        raise
    except (Exception, SystemExit) as error:  # a file that is not there, a division by nothing, ...
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        if not env_kwargs:
            raise ValueError(
                f"task.id={id} cannot be made without task.env_kwargs ({reason}); type those that it needs, or correct "
                "the environment"
            ) from error
        raise ValueError(
            f"task.env_kwargs={dict(env_kwargs)} does not suit task.id={id} ({reason}); type others"
        ) from error


def _import(id: str, package: str) -> None:
    if not _registers(package):
        raise ValueError(
            f"task.id={id!r} would import {package}, which is no installed package that depends on gymnasium; "
            "install a module of yours by `uv pip install -e …` with a pyproject.toml that has dependencies = "
            f'["gymnasium"] ({PAGE}), or type the id of a package that is installed'
        )
    with needing_packages(id):
        importlib.import_module(package)


def _registered(namespace: str) -> bool:
    return any(spec.namespace == namespace for spec in gymnasium.registry.values())


@cache  # every file of every distribution is read for it, and each world asks
def _registers(package: str) -> bool:
    """Whether an installed distribution has the module `package` at its top and requires gymnasium."""
    distributions = metadata.packages_distributions().get(package, [])
    needs = [need for name in distributions for need in metadata.requires(name) or ()]
    return any(re.match(r"gymnasium\b", need) for need in needs)
