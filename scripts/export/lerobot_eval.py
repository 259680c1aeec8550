"""Builds the lerobot-eval command that plays an exported policy in the test worlds of its run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dsrl.task.pusht import OBSERVATIONS


def command(policy: str, task: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """Return the command for the folder `policy`, None where the task is none of lerobot's environments.

    `task` is the config of the run's task, with its _target_.
    A config may come from anybody: letters that would steer a terminal are left out.
    """
    environment = _environment(task)
    if environment is None:
        return None
    words = [f"--policy.path={policy}", *environment]
    words += [f"--seed={settings['test_seed']}", f"--eval.n_episodes={settings['eval_episodes']}"]
    words += [f"--eval.batch_size={min(settings['num_envs'], settings['eval_episodes'])}"]
    quoted = [shlex.quote(word) for word in [*words, "--eval.use_async_envs=false"]]
    return "".join(letter for letter in " ".join(["lerobot-eval", *quoted]) if letter.isprintable())


def _environment(task: Mapping[str, Any]) -> list[str] | None:
    """Return lerobot's flags of the environment; None where it has none of this task."""
    fields: dict[str, Any]
    match str(task["_target_"]):
        case "dsrl.task.pusht.PushTTask":
            fields = {"type": "pusht", "obs_type": OBSERVATIONS[task["observation"]]}
        case "dsrl.task.libero.LiberoTask":
            fields = {"type": "libero", "task": task["suite"], "task_ids": f"[{task['id']}]"}
        case "dsrl.task.lerobot.LerobotTask":
            fields = {"type": task["env"], "task": task["name"]}
        case _:
            return None
    fields |= {"episode_length": task["max_steps"], **(task.get("env_kwargs") or {})}
    return [f"--env.{key}={value}" for key, value in fields.items() if value is not None]
