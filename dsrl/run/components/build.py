"""Builds live parts from a config: the only place that calls Hydra's `instantiate`.

cfg -> Settings (typed values) + task, policy, noise, algorithm, loggers (each `_target_` on the allow list) -> Parts
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from dsrl.devices import choose_device
from dsrl.edits import action_bounds
from dsrl.evaluation.collapse import check_stop
from dsrl.evaluation.confirmation import check_confirmation, few_returns
from dsrl.evaluation.noise_sources import check_best_of
from dsrl.interfaces import ChecksTask, HasDevice, Noise, Policy, Searcher, Task
from dsrl.logging import Description, Logger
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.cut_episodes import cut_episodes
from dsrl.run.components.early_checks import check_before_building
from dsrl.run.components.few_worlds import fitted
from dsrl.run.components.members import check_digest, check_members
from dsrl.run.components.network_memory import check_networks
from dsrl.run.components.parts import HasRemarks, Parts, executed_slots, horizon_of
from dsrl.run.components.wasteful_values import large_batches, many_threads
from dsrl.run.config.allow_list import component
from dsrl.run.config.settings import Settings, checked, identity, settings_of
from dsrl.run.saved.files import make_writable
from dsrl.run.terminal.errors import user_errors
from dsrl.training.replay_memory import GIB, buffer_length, checked_replay_bytes, draws_of
from dsrl.training.validation_schedule import decisions_apart

if TYPE_CHECKING:
    import torch

    from dsrl.training.loop import Checkpointer, Monitor
    from dsrl.training.successive_halving import SuccessiveHalving
    from dsrl.training.trainer import Trainer


def build(cfg: DictConfig, announce: Callable[[str], None], like: Parts | None = None) -> Parts:
    """Check a config and build its parts, with task and policy of `like` where given; starts no simulation.

    Raises UserError with one sentence for values that cannot work.
    """
    import torch

    with user_errors():
        settings = settings_of(cfg)
        nodes = {group: checked(cfg, group) for group in ("task", "policy", "noise", "sac")}
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        if like is None:
            task, policy = _task_and_policy(nodes, announce, settings.horizon)
        else:
            task, policy = like.task, like.policy
        settings = fitted(settings, task, announce)
        noise = _noise(nodes["noise"], policy, settings.horizon)
        env = NoiseActionEnv(task, policy, noise, horizon_of(policy, settings.horizon))
        algorithm = _algorithm(nodes["sac"], env, settings.seed, settings.learner_device)
        check_best_of(algorithm, settings.best_of, noise)
        _check_success(settings, task)
    return Parts(settings, task, policy, noise, env, algorithm, identity(cfg, nodes))


def build_noise(node: Mapping[str, Any], policy: Policy, horizon: int | None) -> Noise:
    """Build a parametrisation from the content of a group `noise`. Raises UserError for values that cannot work."""
    with user_errors():
        return _noise(checked(DictConfig({"noise": dict(node)}), "noise"), policy, horizon)


def _noise(node: DictConfig, policy: Policy, horizon: int | None) -> Noise:
    live = _accepted(node, executed=executed_slots(policy, horizon))
    noise: Noise = _constructor(node)(noise_shape=policy.noise_shape, **live)
    check_members(noise, Noise)
    return noise


def _check_success(settings: Settings, task: Task) -> None:
    if settings.success_share is not None and not task.has_success:
        raise ValueError(
            f"success_share={settings.success_share} needs a task with a success, and this one has none; "
            "type success_share=null"
        )


def _task_and_policy(
    nodes: Mapping[str, DictConfig], announce: Callable[[str], None], horizon: int | None
) -> tuple[Task, Policy]:
    check_before_building(nodes["task"], nodes["policy"])  # before the task: a simulator may take a minute to start
    task: Task = _instantiate(nodes["task"], **_accepted(nodes["task"], announce=announce))
    check_members(task, Task)
    policy = _policy(nodes["policy"], task, horizon)
    check_digest(policy)
    for remark in policy.remarks if isinstance(policy, HasRemarks) else ():
        announce(remark)
    executed, length = horizon_of(policy, horizon), policy.chunk_shape[0]
    if horizon is None and executed < length:
        announce(
            f"{executed} of the {length} actions of a chunk are executed, as the checkpoint says; horizon changes it"
        )
    return task, policy


def _policy(node: DictConfig, task: Task, horizon: int | None) -> Policy:
    """Build the policy. Raises ValueError with all that does not fit the task, a chunk's executed steps among it."""
    policy: Policy = _instantiate(node, **_accepted(node, task=task))
    check_members(policy, Policy)
    try:
        if isinstance(policy, ChecksTask):
            policy.check_fits(task)
    except ValueError as error:
        if horizon_of(policy, horizon) <= task.max_steps:
            raise
        longest = min(policy.chunk_shape[0], task.max_steps)
        episode = f"a chunk is longer than an episode of {task.max_steps} control steps"
        raise ValueError(f"{error}; and type horizon={longest}, because {episode}") from error
    return policy


def _algorithm(node: DictConfig, env: NoiseActionEnv, seed: int, device: str) -> Any:
    """Build the algorithm, its weights drawn from `seed`: the same ones on every device.

    Raises ValueError for a device that is not on this machine.
    """
    import torch

    from dsrl.training.replay_format import ReplayDecoder

    chosen = learner_device(device, env.policy)
    decoder = ReplayDecoder(env, node.get("replay", "noise"))
    live = _accepted(node, decoder=decoder, chunk_shape=env.chunk_shape, action_bounds=action_bounds(env.task))
    chunk = math.prod(env.chunk_shape) if "decoder" in live else 0  # critics of chunks learn from decoded ones
    check_networks(node, env.policy.feature_dim, env.noise.dim, chunk)
    torch.manual_seed(seed)
    algorithm = _constructor(node)(env.observation_space, env.action_space, **live)
    return algorithm.to(chosen) if isinstance(algorithm, torch.nn.Module) else algorithm  # a search has no networks


def learner_device(name: str, policy: Policy) -> torch.device:
    """Return the device of the networks that learn; `auto` is the policy's.

    Raises ValueError for a device that is not on this machine.
    """
    if name == "auto" and isinstance(policy, HasDevice):
        return policy.device
    return choose_device("cpu" if name == "auto" else name, "learner_device=")


def build_player(content: Mapping[str, Any], task: Task) -> tuple[NoiseActionEnv, Any]:
    """Build policy, noise and algorithm of a config for a task that is described, but not simulated.

    Raises UserError for values that cannot work.
    """
    with user_errors():
        cfg = DictConfig(dict(content))
        nodes = {group: checked(cfg, group) for group in ("policy", "noise", "sac")}
        policy = _policy(nodes["policy"], task, cfg.horizon)
        noise = _noise(nodes["noise"], policy, cfg.horizon)
        env = NoiseActionEnv(task, policy, noise, horizon_of(policy, cfg.horizon))
        return env, _algorithm(nodes["sac"], env, seed=0, device="auto")  # its weights are about to be loaded


def build_loggers(cfg: DictConfig, described: Description, folder: Path | None = None) -> dict[str, Logger]:
    """Build the destinations of metrics by their names, in `folder` where given; wandb's starts a run.

    Makes their folders. Raises UserError for values that cannot work.
    """
    with user_errors():
        named = checked(cfg, "logging")
        for name, node in named.items() if folder is None else ():
            if isinstance(node.get("folder"), str):
                make_writable(
                    Path(node.folder), f"logging.{name!s}.folder"
                )  # now: the first metric comes after warm-up
        elsewhere = {} if folder is None else {"folder": str(folder)}
        return {
            str(name): _instantiate(node, **elsewhere, **_accepted(node, described=described))
            for name, node in named.items()
        }


def check_budget(parts: Parts, announce: Callable[[str], None]) -> None:
    """Announce episodes that validations cut short, too few worlds, wasteful values, and the memory of replay.

    Raises UserError where replay does not fit into memory, or the decisions do not suffice for a search, or the
    worlds for a confirmation or to stop at a collapse.
    """
    from dsrl.training.successive_halving import plan

    settings, algorithm = parts.settings, parts.algorithm
    with user_errors():
        check_confirmation(settings.confirm_episodes, parts.num_worlds)
        slower = many_threads(settings.threads, os.cpu_count() or 1)
        compared = not parts.env.has_success and parts.policy_sha256() is not None
        few = few_returns(settings.confirm_episodes) if compared else None
        for sentence in filter(None, (few, slower)):
            announce(sentence)
        if isinstance(algorithm, Searcher):
            plan(len(algorithm.candidates), settings.decisions, parts.env.longest_episode)
            return
        played = buffer_length(settings.buffer_size, settings.decisions, len(parts.env))
        transitions = played + len(parts.offline or ())
        taken = checked_replay_bytes(parts.env, algorithm.replay, transitions, draws=draws_of(algorithm))
        seldom = _stopped_seldom(parts)
    if algorithm.replay != "noise":
        stored = "chunks" if algorithm.replay == "chunks" else "states"
        announce(f"replay stores {stored}: up to {taken / GIB:.2f} GiB for {transitions} transitions")
    cut = cut_episodes(settings, parts.env.longest_episode)
    for sentence in filter(None, (cut, seldom, large_batches(settings.batch_size, transitions))):
        announce(sentence)


def _stopped_seldom(parts: Parts) -> str | None:
    """Return a sentence where `stop_on_collapse` cannot act in all validations; raises ValueError where in none."""
    settings = parts.settings
    if not settings.stop_on_collapse:
        return None
    apart = decisions_apart(settings.eval_every, len(parts.env), parts.env.longest_episode)
    first = 2 + (settings.offline_cloning_updates > 0)  # after warm-up and cloning, which end with one each
    offline = -(-settings.offline_updates // settings.eval_every)
    planned = first - 1 + offline + -(-(settings.decisions - settings.warmup_decisions) // apart)
    return check_stop(settings.validation_episodes, first, planned, parts.num_worlds)


def build_loop(parts: Parts, monitor: Monitor, checkpointer: Checkpointer) -> Trainer | SuccessiveHalving:
    """Build the training loop of the algorithm's kind."""
    from dsrl.training.offline_use import Offline
    from dsrl.training.successive_halving import SuccessiveHalving
    from dsrl.training.trainer import Trainer

    settings = parts.settings
    if isinstance(parts.algorithm, Searcher):
        return SuccessiveHalving(
            parts.env,
            parts.algorithm,
            monitor,
            decisions=settings.decisions,
            seed=settings.seed,
            checkpointer=checkpointer,
        )
    data = parts.offline
    numbers = settings.offline_updates, settings.offline_share, settings.offline_cloning_updates
    offline = None if data is None else Offline(data, *numbers)
    return Trainer(
        parts.env,
        parts.algorithm,
        monitor,
        decisions=settings.decisions,
        warmup_decisions=settings.warmup_decisions,
        utd=settings.utd,
        batch_size=settings.batch_size,
        buffer_size=settings.buffer_size,
        eval_every=settings.eval_every,
        seed=settings.seed,
        offline=offline,
        success_share=settings.success_share,
        checkpointer=checkpointer,
    )


def _constructor(node: DictConfig) -> Callable[..., Any]:
    """Return the component that a node names with the node's options: live values are missing, whatever it says."""
    constructor: Callable[..., Any] = instantiate(node, _convert_="all", _partial_=True)
    return constructor


def _instantiate(node: DictConfig, **live: Any) -> Any:
    """Build the component that a node names, with live values."""
    try:
        return _constructor(node)(**live)
    except FileNotFoundError as error:
        if node._target_.startswith("dsrl."):  # whose message is a sentence
            raise
        advice = "put the file there, or type another value of the option that names it"
        raise FileNotFoundError(f"{node._target_} did not find a file ({error}); {advice}") from error


def _accepted(node: DictConfig, **live: Any) -> dict[str, Any]:
    """Select the live values that the target of `node` takes."""
    parameters = inspect.signature(component(node._target_)).parameters
    return {name: value for name, value in live.items() if name in parameters}
