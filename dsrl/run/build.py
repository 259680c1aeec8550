"""From a config to live parts: the only place that meets a config and calls instantiate.

cfg -> Settings (typed scalars)
    -> task, policy, noise, algorithm (each `_target_` on the allow list) -> Parts -> dsrl.run.train
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsrl.evaluation.episodes import check_judge
from dsrl.interfaces import SteerablePolicy, Task
from dsrl.logging import Logger
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.allow_list import check_targets, component
from dsrl.run.errors import UserError
from dsrl.run.folder import NoRoomError, RunFolder
from dsrl.run.saved_runs import GROUPS as GROUPS
from dsrl.run.saved_runs import Request, going_on, identity, requests, saved_config
from dsrl.run.settings import Settings as Settings
from dsrl.run.settings import settings_of
from dsrl.training.offline_data import Recorded
from dsrl.training.replay_format import GIB, NOISE, buffer_length, checked_replay_bytes


@dataclass(frozen=True)
class Parts:
    """All that a run is made of; nothing here knows a config."""

    settings: Settings
    task: Task
    policy: SteerablePolicy
    noise: Any
    env: NoiseActionEnv
    make_algorithm: Callable[[], Any]  # a new, untrained algorithm
    identity: Mapping[str, Any] = field(default_factory=dict)  # what may not change where a run goes on
    recorded: Recorded | None = None  # decisions from elsewhere


def train(cfg: DictConfig) -> float:
    """Evaluate the base policy, train, evaluate again; returns the steered success rate (or mean return)."""
    from dsrl.run import train as workflow
    from dsrl.run.console import Screen
    from dsrl.run.signals import Signals

    with _one_sentence(), Signals() as signals:
        screen = Screen()
        folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
        screen.phase(f"run folder {folder.path}; loading task and policy …")
        with folder.noting_failure():
            with _user_errors():
                logging = checked(cfg, "logging")
            parts = build(cfg, screen.phase)
            with _user_errors():
                parts = with_recorded(parts, screen.phase)
                check_budget(parts, screen.phase)
                loggers: list[Logger] = [_instantiate(node) for node in logging.values()]
                thread = workflow.make_thread(parts, folder, screen, signals, **going_on(cfg))
            return workflow.train(parts, folder, loggers, screen, thread)


def evaluate(cfg: DictConfig) -> float:
    """Repeat the final evaluation of every run that `cfg.run` names; returns the mean success rate (or mean return)."""
    from dsrl.evaluation import report
    from dsrl.run import evaluate as eval_workflow
    from dsrl.run.console import Screen

    with _one_sentence():
        screen = Screen()
        with _user_errors():
            asked = requests(cfg)
            runs = [(request, *_loaded(request)) for request in asked]
        scores, parts, former = [], None, None
        for request, folder, saved, state in runs:
            if len(runs) > 1:
                screen.phase(f"run {folder.path}")
            parts = build(saved, screen.phase, parts if former is not None and _same_worlds(former, saved) else None)
            former = saved
            check_same_policy(parts, folder)
            with _user_errors():
                scores.append(eval_workflow.evaluate(parts, folder, request, state, screen))
        if len(runs) > 1 and not asked[0].film:
            screen.console.print(report.runs_table([folder.path for _, folder, _, _ in runs]))
        return sum(scores) / len(scores)


def _loaded(request: Request) -> tuple[RunFolder, DictConfig, Any]:
    """The folder, config and checkpoint (None for the base policy) that a request names."""
    folder = RunFolder(Path(request.run))
    saved = saved_config(folder)
    return folder, saved, None if request.checkpoint == "none" else folder.load(request.checkpoint)


def _same_worlds(one: DictConfig, other: DictConfig) -> bool:
    """Whether two runs have the same task and policy, which are slow to build."""
    return all(checked(one, group) == checked(other, group) for group in ("task", "policy"))


def build(cfg: DictConfig, announce: Callable[[str], None], like: Parts | None = None) -> Parts:
    """Check a config and build its parts, with task and policy of `like` where given; starts no simulation.

    Raises UserError with one sentence for what cannot work.
    """
    import torch

    with _user_errors():
        settings = settings_of(cfg)
        nodes = {group: checked(cfg, group) for group in ("task", "policy", "noise", "sac")}
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        task, policy = _task_and_policy(nodes, announce) if like is None else (like.task, like.policy)
        horizon = policy.chunk_shape[0] if settings.horizon is None else settings.horizon
        noise = _instantiate(nodes["noise"])(noise_shape=policy.noise_shape)
        env = NoiseActionEnv(task, policy, noise, horizon)
        build_algorithm = _instantiate(nodes["sac"])
        live = _accepted(nodes["sac"], decoder=env.decode, chunk_shape=env.chunk_shape)

    def make_algorithm() -> Any:
        torch.manual_seed(settings.seed)
        return build_algorithm(env.observation_space, env.action_space, **live)

    with _user_errors():
        check_judge(make_algorithm(), settings.best_of)  # wrong values show now, not after the base evaluation
    return Parts(settings, task, policy, noise, env, make_algorithm, identity(cfg, nodes))


def _task_and_policy(nodes: Mapping[str, DictConfig], announce: Callable[[str], None]) -> tuple[Task, SteerablePolicy]:
    task: Task = _instantiate(nodes["task"], **_accepted(nodes["task"], announce=announce))
    policy: SteerablePolicy = _instantiate(nodes["policy"], **_accepted(nodes["policy"], task=task))
    _check_fits(policy, task)
    return task, policy


def with_recorded(parts: Parts, announce: Callable[[str], None]) -> Parts:
    """The parts with the decisions of `offline_data`, where that is given.

    Raises ValueError or FileNotFoundError where it does not fit the task, or the algorithm cannot learn from it.
    """
    settings, algorithm = parts.settings, parts.make_algorithm()
    if settings.offline_data is None:
        return parts
    if getattr(algorithm, "replay", NOISE) == NOISE:
        raise ValueError(
            f"offline_data={settings.offline_data} tells chunks and not the noise that {type(algorithm).__name__} "
            "learns from; choose sac=dsrl_na, or offline_data=null"
        )
    recorded = Recorded(settings.offline_data, parts.env)
    announce(
        f"{settings.offline_data}: {len(recorded)} decisions of {recorded.num_episodes} episodes, "
        f"{recorded.successes} of which end well"
    )
    return replace(parts, recorded=recorded)


def check_budget(parts: Parts, announce: Callable[[str], None]) -> None:
    """Say what replay will take where it keeps more than noise.

    Raises ValueError where replay does not fit into memory, or the decisions do not suffice for a search.
    """
    from dsrl.training.successive_halving import Searcher, plan

    settings, algorithm = parts.settings, parts.make_algorithm()
    if isinstance(algorithm, Searcher):
        plan(len(algorithm.candidates), settings.decisions, parts.env.longest_episode)
        return
    transitions = buffer_length(settings.buffer_size, settings.decisions, len(parts.env)) + len(parts.recorded or ())
    taken = checked_replay_bytes(parts.env, algorithm.replay, transitions)
    if algorithm.replay != NOISE:
        announce(f"replay keeps what the policy saw: up to {taken / GIB:.2f} GiB for {transitions} transitions")


def checked(cfg: DictConfig, group: str) -> DictConfig:
    """A group with its interpolations resolved: what is checked here is, to the letter, what will be built."""
    if not isinstance(cfg.get(group), DictConfig):
        raise ValueError(f"the config lacks the group {group}; `python train.py --help` shows its choices")
    plain: Any = OmegaConf.to_container(cfg[group], resolve=True)
    check_targets(plain, group, group)
    components = {f"{group}.{name}": node for name, node in plain.items()} if group == "logging" else {group: plain}
    for where, node in components.items():
        if not isinstance(node, dict) or "_target_" not in node:
            raise ValueError(f"{where} lacks _target_, so that nothing can be built; choose one of conf/{group}")
    return DictConfig(plain)


def _check_fits(policy: SteerablePolicy, task: Task) -> None:
    """Let a policy that knows its own robot compare cameras, state and action with the task's."""
    check = getattr(policy, "check_fits", None)
    if check is not None:
        check(task)


def _instantiate(node: DictConfig, **live: Any) -> Any:
    """Build what a node names, with live values that no YAML can hold; a `_partial_` node without any stays one."""
    build = instantiate(node, _convert_="all", _partial_=True)
    return build if node.get("_partial_", False) and not live else build(**live)


def _accepted(node: DictConfig, **live: Any) -> dict[str, Any]:
    """Those live values that the target of `node` takes."""
    known = inspect.signature(component(node._target_)).parameters
    return {name: value for name, value in live.items() if name in known}


def check_same_policy(parts: Parts, folder: RunFolder) -> None:
    """Noise that was learnt for other weights means nothing; a run that was cut short has not noted its own."""
    from dsrl.run.train import policy_sha256

    noted = json.loads(folder.summary.read_text())["policy_sha256"]["after"] if folder.summary.is_file() else None
    found = policy_sha256(parts)
    if noted is not None and noted != found:
        raise UserError(
            f"the policy's weights have sha256 {found} but the run steered {noted}; bring its checkpoint back"
        )


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn what our own checks raise into UserError; everything else is a mistake of ours and keeps its traceback."""
    try:
        yield
    except (InstantiationException, OmegaConfBaseException, ValueError, FileNotFoundError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, OmegaConfBaseException):
            raise UserError(f"{cause.full_key or 'config'}: {str(cause.msg).splitlines()[0]}") from error
        if not isinstance(cause, ValueError | FileNotFoundError):
            raise
        raise UserError(str(cause)) from error


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End the program with the sentence alone where the user can mend it: other values, or something to install.

    In a sweep the launcher has to see the exception.
    """
    try:
        yield
    except (UserError, ImportError, NoRoomError) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None
