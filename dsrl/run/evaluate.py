"""Evaluates saved runs: load them, play their final evaluation again, compare with the base policy, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from omegaconf import DictConfig, OmegaConf

from dsrl.evaluation import report, summary, video
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import Act, base_noise, evaluation_noise
from dsrl.interfaces import StateDict
from dsrl.logging import ShowsResults, ShowsVideos
from dsrl.run.components.build import build, build_loggers
from dsrl.run.components.final_evaluation import build_simulation, play, record_video
from dsrl.run.components.parts import Parts, backbone_sha256, configuration_sha256
from dsrl.run.config.description import described_evaluation, flat_results, saved_choices
from dsrl.run.config.plugins import plugins_of
from dsrl.run.config.request import Request, files_of
from dsrl.run.config.settings import checked, requests_of, saved_config
from dsrl.run.config.worlds import at_most_once
from dsrl.run.eval_remarks import held_values, reused_worlds
from dsrl.run.named_runs import destinations, loaded, resolved, with_checkpoint, without_config
from dsrl.run.saved import provenance
from dsrl.run.saved.digests import BACKBONE_SHA256, CONFIGURATION_SHA256
from dsrl.run.saved.eval_failure import noting_failure_in
from dsrl.run.saved.files import atomic_write, write_json
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.policy_path import find_policy
from dsrl.run.saved.weights import load_weights
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError, one_sentence, user_errors
from dsrl.run.terminal.installed import typed
from dsrl.run.terminal.ranges import fits

Content = Mapping[str, Any]
"""The content of eval.json, or, of videos, the request and their paths."""


def evaluate(cfg: DictConfig) -> float:
    """Repeat the final evaluation of every run that `cfg.run` names; returns the mean success rate (or mean return)."""
    with one_sentence():
        screen = Screen()
        with user_errors():
            named = requests_of(cfg)
            requested, left_out = with_checkpoint(named)
            runs = [_loaded(request, cfg) for request in requested]
            places = destinations([request for request, *_ in runs], several=len(named) > 1)
        left_out += without_config(list(cfg.run) if OmegaConf.is_list(cfg.run) else cfg.run)
        for sentence in left_out:
            screen.phase(sentence)
        scores: list[float] = []
        written: list[Path] = []
        parts: Parts | None = None
        previous: DictConfig | None = None
        for typed, (request, folder, saved, state), place in zip(requested, runs, places, strict=True):
            if len(named) > 1:
                screen.phase(f"run {folder.path}")
            if (outdated := folder.outdated()) is not None:
                screen.phase(outdated)
            if (typed.checkpoint, request.checkpoint) == ("returned", "none"):
                screen.phase("this run returned its base policy; checkpoint=best evaluates the steered policy")
            same = previous is not None and _same_worlds(previous, saved)
            parts, previous = build(saved, screen.phase, parts if same else None), saved
            check_same_policy(parts, folder)
            with user_errors():
                chosen = saved_choices(folder.hydra / "hydra.yaml") if cfg.logging else {}
                log = partial(_log, cfg, saved, chosen, folder, request, written)
                scores.append(evaluate_run(parts, folder, request, state, screen, place, log))
        if len(named) > 1 and not requested[0].video_seeds:
            screen.print(report.runs_table([folder.path for _, folder, *_ in runs], written))
        for sentence in left_out:
            screen.phase(sentence)
        return sum(scores) / len(scores)


def _loaded(request: Request, cfg: DictConfig) -> tuple[Request, RunFolder, DictConfig, StateDict | None]:
    """Load the folder, config and checkpoint (None for the base policy) of a request.

    The request names the checkpoint that `returned` stands for.
    """
    plugins = plugins_of(cfg)
    folder = RunFolder(Path(request.run), plugins=plugins)
    folder.check()
    saved = saved_config(folder.path, "run", plugins, files_of(cfg))
    saved.learner_device = "auto"  # that of training need not be on this machine
    find_policy(saved.policy, folder.hydra / "hydra.yaml")
    request, state = loaded(request, folder)
    return request, folder, saved, state


def _log(
    cfg: DictConfig,
    saved: DictConfig,
    chosen: Mapping[str, str],
    folder: RunFolder,
    request: Request,
    written: list[Path],
    out: Path,
    content: Content,
) -> None:
    """Log an evaluation to the destinations of `cfg.logging`, and add its folder `out` to `written`."""
    written.append(out)
    config: Any = OmegaConf.to_container(saved, resolve=True)
    described = described_evaluation({**config, "logging": {}}, chosen, request, content["request"])
    name = "base" if request.checkpoint == "none" else "steered"
    tests = {key: content.get(key) for key in ("paired", "unpaired")}
    shown = flat_results({"base": content.get("base"), name: content.get("result"), **tests})
    curves = {f"eval/{key}": value for key, value in shown.items() if key.endswith(("success_rate", "mean_return"))}
    env_steps = folder.read_results().get("env_steps", 0)
    if not fits(env_steps, Annotated[int, Ge(0), Le(2**53)]):  # somebody's run
        env_steps = 0
    for logger in build_loggers(cfg, described, out).values():
        logger.load_state_dict(None)
        if curves:
            logger.log(curves, env_steps)
        if isinstance(logger, ShowsResults):
            logger.results(shown)
        for path in map(Path, content.get("videos", ())):
            if isinstance(logger, ShowsVideos):
                logger.video(path.stem, path, env_steps)
        logger.close()


def _same_worlds(one: DictConfig, other: DictConfig) -> bool:
    """Return whether two runs have the same task and policy, which are slow to build."""
    return all(checked(one, group) == checked(other, group) for group in ("task", "policy"))


def check_same_policy(parts: Parts, folder: RunFolder) -> None:
    """Raise UserError for another policy than the run steered; an unfinished run has no digests yet."""
    summary = folder.read_summary()
    noted, requested = summary.get("policy_sha256"), summary.get("requested")
    expected, found = noted.get("after") if isinstance(noted, dict) else None, parts.policy_sha256()
    if expected is not None and expected != found:
        raise UserError(
            f"the policy's weights have sha256 {found} but the run steered {str(expected)[:64]}; restore its checkpoint"
        )
    for key, content, digest in (
        (CONFIGURATION_SHA256, "configuration, processors and statistics", configuration_sha256(parts.policy)),
        (BACKBONE_SHA256, "backbone's sizes and tokenizer", backbone_sha256(parts.policy)),
    ):
        expected = requested.get(key) if isinstance(requested, dict) else None
        if expected is not None and expected != digest:
            raise UserError(
                f"the policy's {content} have sha256 {digest} but the run steered one of {str(expected)[:64]}; "
                "restore its checkpoint"
            )


def evaluate_run(
    parts: Parts,
    folder: RunFolder,
    request: Request,
    state: StateDict | None,
    screen: Screen,
    out: Path | None = None,
    log: Callable[[Path, Content], None] = lambda out, content: None,
) -> float:
    """Play the final evaluation of one run with the weights `state`, None for the base policy; returns the score.

    Writes eval.json into `out` (None: a new folder in the run's), or, where `request.video_seeds` names worlds, a video
    of each, and passes that folder and the content, or the paths of the videos, to `log`. Raises ValueError for a
    video of a task without cameras, and for weights that do not fit the algorithm; UserError for what fails later.
    """
    act = _requested_noise(parts, request, state, screen)
    if request.video_seeds and not video.can_record(parts.task):
        raise ValueError("video_seeds needs a task with a camera and this one has none; leave video_seeds out")
    out = out or folder.new_evaluation()
    has_base = parts.policy_sha256() is not None and state is not None
    with noting_failure_in(out):
        if request.video_seeds:
            score = _record_videos(parts, out, act, request.video_seeds, screen, has_base=has_base)
            content = {"request": asdict(request), "videos": [str(_video(out, seed)) for seed in request.video_seeds]}
        else:
            base, result, content = _play(parts, folder, request, act, screen, has_base=has_base)
            write_json(out / "eval.json", content)  # first: what follows may fail
            _show(request, base, result, screen, options=_video_options(parts, folder, request))
            score = result.score
        log(out, content)
    if not request.video_seeds:
        screen.phase(f"written to {out / 'eval.json'}")
    return score


def _play(
    parts: Parts, folder: RunFolder, request: Request, act: Act, screen: Screen, *, has_base: bool
) -> tuple[Evaluation | None, Evaluation, dict[str, Any]]:
    """Play base policy and the requested one in the same worlds; returns both results and the content of eval.json."""
    build_simulation(parts, screen)
    episodes = at_most_once(request.eval_episodes or parts.settings.eval_episodes, parts.num_worlds)
    first_seed = parts.settings.test_seed if request.test_seed is None else request.test_seed
    worlds: dict[str, Any] = {"episodes": episodes, "first_seed": first_seed}
    if request.checkpoint != "none" and parts.num_worlds is None:
        for sentence in reused_worlds(parts.settings.judging_worlds, range(first_seed, first_seed + episodes)):
            screen.phase(sentence)
    base = None
    if request.base and has_base:
        screen.phase(f"base policy on {episodes} worlds from seed {first_seed} …")
        base = play(parts, base_noise(parts.policy.noise_shape), screen, **worlds)
    name = "base policy" if request.checkpoint == "none" else f"steered policy ({request.checkpoint} checkpoint)"
    screen.phase(f"{name} on {episodes} worlds from seed {first_seed} …")
    result = play(parts, act, screen, **worlds)
    played = {**asdict(request), "eval_episodes": episodes, "test_seed": first_seed}
    return base, result, {"request": played, **_content(parts, folder, request, base, result)}


def _requested_noise(parts: Parts, request: Request, state: StateDict | None, screen: Screen) -> Act:
    """Return the noise of the requested checkpoint."""
    if state is None:
        return base_noise(parts.policy.noise_shape)
    load_weights(parts.algorithm, state, f"checkpoint={request.checkpoint} of {request.run}")
    best_of = request.best_of or (None if request.stochastic else parts.settings.best_of)
    act = evaluation_noise(parts.algorithm, parts.noise, best_of=best_of, stochastic=request.stochastic or None)
    if (remark := held_values(parts.identity, best_of)) is not None:
        screen.phase(remark)
    return act


def _content(
    parts: Parts, folder: RunFolder, request: Request, base: Evaluation | None, result: Evaluation
) -> Mapping[str, Any]:
    """Return the content of eval.json besides the request."""
    return {
        "result": summary.summary(result),
        "base": base and summary.summary(base),
        **summary.comparison(base, result),
        "by_instruction": summary.by_instruction(result),
        "num_worlds": parts.num_worlds,
        "failures": result.failures,
        "worlds": asdict(result),
        "base_worlds": base and asdict(base),
        "config": folder.any_config.read_text(encoding="utf-8") if folder.any_config.is_file() else None,
        "config_sha256": folder.config_sha256(),
        "checkpoint_sha256": folder.checkpoint_sha256(request.checkpoint),
        "policy_sha256": parts.policy_sha256(),
        "packages": provenance.package_versions(),
        "environment": provenance.environment(),
    }


def _show(
    request: Request, base: Evaluation | None, result: Evaluation, screen: Screen, *, options: str | None
) -> None:
    """Print the results, the test, the worlds that failed, and the command that records one of them.

    The latter two only where seeds repeat the worlds, as far as that is known. That command has the `options` of
    eval.py that name the run; None: the task cannot be recorded.
    """
    name: str = request.checkpoint
    played = {name: result} if base is None else {"base": base, name: result}
    screen.print(report.summary_table(played))
    if base is not None:
        screen.print(report.comparison_sentence(base, result))
    if len(summary.by_instruction(result)) > 1:
        screen.print(report.instruction_table(base, result))
    if result.failures and (base is None or base.same_worlds(result)):
        first = ", ".join(map(str, result.failures[:10])) + (" …" if len(result.failures) > 10 else "")
        screen.print(f"failed worlds ({len(result.failures)}): {first}")
        if options is not None:
            screen.print(f"video of one:  {typed('eval.py')} {options} video_seeds={result.failures[0]}")


def _video_options(parts: Parts, folder: RunFolder, request: Request) -> str | None:
    """Return the options of eval.py that name the run, for a video of it; None where the task cannot be recorded."""
    return f"{folder.eval_option}{_played_by(request)}" if video.can_record(parts.task) else None


def _played_by(request: Request) -> str:
    """Return the options of eval.py, each after a blank, by which the same policy is played again; "" by default."""
    default = resolved(replace(request, checkpoint="returned")).checkpoint
    options = [] if request.checkpoint == default else [f"checkpoint={request.checkpoint}"]
    options += ["stochastic=true"] if request.stochastic else []
    options += [f"best_of={request.best_of}"] if request.best_of is not None else []
    return "".join(f" {option}" for option in options)


def _record_videos(parts: Parts, out: Path, act: Act, seeds: list[int], screen: Screen, *, has_base: bool) -> float:
    """Record each world under the base policy and the requested one, side by side; returns the latter's mean score."""
    build_simulation(parts, screen)
    acts = [base_noise(parts.policy.noise_shape), act] if has_base else [act]
    scores = []
    for seed in seeds:
        path = _video(out, seed)
        content, results = record_video(parts, acts, [seed])
        atomic_write(path, content)
        result = results[-1]
        screen.phase(f"world {seed}: {report.shown(result)}, video in {path}")
        scores.append(result.score)
    return sum(scores) / len(scores)


def _video(out: Path, seed: int) -> Path:
    return out / f"world_{seed}.mp4"
