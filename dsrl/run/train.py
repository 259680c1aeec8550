"""Runs one experiment: evaluate the base policy, train, evaluate the steered policy in the same worlds, report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dsrl.evaluation import digits, report, summary
from dsrl.evaluation.collapse import naming_checkpoints
from dsrl.evaluation.confirmation import Confirmation
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import base_noise, evaluation_noise, prior_noise
from dsrl.evaluation.opposed_reward import opposed_reward
from dsrl.interfaces import Searcher
from dsrl.logging import Description, Logger
from dsrl.run.components.auto_noise import read_choice, with_chosen_noise
from dsrl.run.components.build import build, build_loggers, build_loop, check_budget
from dsrl.run.components.final_evaluation import build_simulation, check_picture, film_comparison, play
from dsrl.run.components.parts import Parts
from dsrl.run.components.recorded_data import with_offline_data
from dsrl.run.components.typed_parts import check_instruction, check_unsteered
from dsrl.run.config.description import described_run
from dsrl.run.config.settings import resume_options
from dsrl.run.config.typed_keys import typed_keys
from dsrl.run.extension import check_extension
from dsrl.run.monitor import Monitor
from dsrl.run.resume import Checkpointer
from dsrl.run.returned import confirm_steered, returned_name
from dsrl.run.returned import content as returned_content
from dsrl.run.saved import provenance
from dsrl.run.saved.base_results import stored_or_played
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen, clock
from dsrl.run.terminal.errors import UserError, one_sentence, type_and_text, user_errors
from dsrl.run.terminal.installed import as_typed, typed
from dsrl.run.terminal.signals import Signals, Stopped
from dsrl.training.metrics import Counters


def train(cfg: DictConfig) -> float:
    """Run one experiment in Hydra's run folder; returns the best validation's success rate (or mean return).

    A search or a grid chooses by this number, and test worlds must choose nothing.
    """
    with one_sentence(), Signals() as signals:
        screen, folder = Screen(), _folder(cfg)
        with folder.claimed(), folder.noting_failure(screen.phase):
            screen.phase(f"run folder {folder.path}; loading task and policy …")
            parts, options = with_offline_data(build(cfg, screen.phase), screen.phase), resume_options(cfg)
            signals.take_back(screen.phase)
            earlier = [folder, *([] if options["other"] is None else [RunFolder(options["other"])])]
            folder.plays = True  # noise=auto does
            cfg, parts, choice = with_chosen_noise(cfg, parts, earlier, screen, signals)
            check_budget(parts, screen.phase)
            with user_errors():
                words = typed_keys(HydraConfig.get().overrides.task)
                check_unsteered(parts.noise, words)
                check_instruction(parts.policy, words)
                checkpointer = make_checkpointer(parts, folder, screen, signals, **options)
            score = finished_score(parts, folder, checkpointer, screen)
            if score is not None:
                return score
            with user_errors():
                check_extension(parts, checkpointer)
            loggers = build_loggers(cfg, _described(cfg, folder))
            folder.begin(_configs(cfg, choice), checkpointer.continuation)
            with screen.logging_to(folder.log):
                return steer(parts, folder, loggers, screen, checkpointer)


def _folder(cfg: DictConfig) -> RunFolder:
    """Return the folder that Hydra names for the run."""
    hydra = HydraConfig.get()
    sweep = Path(str(hydra.sweep.dir)) if hydra.mode == RunMode.MULTIRUN else None
    is_trial = sweep is not None and "n_trials" in hydra.sweeper
    return RunFolder(Path(hydra.runtime.output_dir), sweep, cfg.get("plugins") or (), is_trial=is_trial)


def _described(cfg: DictConfig, folder: RunFolder) -> Description:
    hydra, plain = HydraConfig.get(), OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    config = {str(key): value for key, value in plain.items()}
    return described_run(config, dict(hydra.runtime.choices), typed_keys(hydra.overrides.task), folder.sweep)


def finished_score(parts: Parts, folder: RunFolder, checkpointer: Checkpointer, screen: Screen) -> float | None:
    """Return the best validation of a run of the same values that has finished in `folder` before; None otherwise."""
    stored = folder.finished(requested(parts, checkpointer), screen.phase)
    if stored is None:
        return None
    returned = str(stored.get("returned", "steered"))
    score = report.score_of(stored[returned])
    screen.phase(
        f"finished before ({folder.summary}): it returned the {returned} policy, score {score:.4g}; "
        f"to run it again, name another {folder.key}"
    )
    return float(stored["best_validation"])


def steer(
    parts: Parts,
    folder: RunFolder,
    loggers: Mapping[str, Logger],
    screen: Screen,
    checkpointer: Checkpointer | None = None,
) -> float:
    """Evaluate, train and evaluate again, from the beginning or from `checkpointer`'s previous state.

    Leaves summary, checkpoints, plot and video in `folder` and returns the score of the best validation. Raises
    `Stopped` on a signal.
    """
    checkpointer = checkpointer or make_checkpointer(parts, folder, screen, Signals(), keep=1, minutes=None, other=None)
    try:
        return _steer(parts, folder, loggers, screen, checkpointer)
    except Stopped:
        screen.phase(checkpointer.stop_message())
        raise
    except Exception as error:
        screen.log_only(f"{type(error).__name__}: {error}")  # the terminal gets one sentence on the way out
        raise
    finally:
        for logger in loggers.values():
            logger.close()


def _steer(
    parts: Parts, folder: RunFolder, loggers: Mapping[str, Logger], screen: Screen, checkpointer: Checkpointer
) -> float:
    settings, signals = parts.settings, checkpointer.signals
    checkpointer.begin()
    folder.write_json(folder.environment, provenance.environment())
    monitor = Monitor(parts, folder, loggers, screen, setup_seconds=build_simulation(parts, screen))
    checkpointer.restore_run(monitor.load_state_dict)
    checkpointer.include(monitor.state_dict)
    signals.take_back(screen.phase)

    results: dict[str, Evaluation] = {}
    if parts.policy_sha256() is None:
        screen.phase("this policy has no weights (no policy_sha256()): there is no base policy to compare with")
    else:
        check_picture(parts)
        results = _evaluate_base(parts, screen, checkpointer)
    monitor.base = results.get("base")
    with naming_checkpoints(folder.checkpoint("best").parent), monitor.training(), checkpointer.training():
        counters = build_loop(parts, monitor, checkpointer).train()
        if not folder.has("last"):  # of a run that had ended in another folder
            monitor.save("last")

    screen.phase(f"steered policy (best checkpoint: {monitor.best_name}) on {settings.eval_episodes} test worlds …")
    parts.algorithm.load_state_dict(folder.load("best"))
    steered = evaluation_noise(parts.algorithm, parts.noise, best_of=settings.best_of)
    worlds: dict[str, int] = {"episodes": settings.eval_episodes, "first_seed": settings.test_seed}
    results["steered"] = play(parts, steered, screen, **worlds, signals=signals)
    confirmation = confirm_steered(parts, steered, screen, signals)

    if settings.plot:
        curve = report.learning_curve(monitor.curve, monitor.base, results["steered"], monitor.best_name)
        folder.write(folder.learning_curve, curve)
    film, failure = film_comparison(parts, steered, folder, screen)
    content = {**_summary(parts, monitor, checkpointer, results, counters), **returned_content(confirmation, folder)}
    monitor.log_results(results, content, film)
    folder.write_json(folder.summary, content)
    _conclude(folder, results, monitor.seconds, screen, confirmation, film, failure)
    return monitor.best_score


def _evaluate_base(parts: Parts, screen: Screen, checkpointer: Checkpointer) -> dict[str, Evaluation]:
    """Evaluate the unsteered policy under its own noise, and under the noise that the actor will be able to choose."""
    settings = parts.settings
    num, seed = settings.eval_episodes, settings.test_seed
    worlds: dict[str, Any] = {"episodes": num, "first_seed": seed, "signals": checkpointer.signals}
    bound = parts.noise.magnitude if parts.algorithm.bounded else float("inf")
    within = f"within ±{bound:g}" if parts.algorithm.bounded else "unbounded"

    def played() -> dict[str, Evaluation]:
        screen.phase(f"base policy on {num} test worlds, independent N(0, I) noise …")
        base = play(parts, base_noise(parts.policy.noise_shape), screen, **worlds)
        screen.phase(f"base policy in the same worlds, N(0, I) in the noise that the actor can choose ({within}) …")
        prior = play(parts, prior_noise(parts.noise, bound), screen, **worlds)
        if not settings.zero_noise:
            return {"base": base, "base_actor_noise": prior}
        screen.phase("base policy in the same worlds, w = 0 …")
        zero = play(parts, prior_noise(parts.noise, 0.0), screen, **worlds)
        return {"base": base, "base_actor_noise": prior, "zero_noise": zero}

    key = {"test_seed": seed, "eval_episodes": num, **({"zero_noise": True} if settings.zero_noise else {})}
    names = ["base", "base_actor_noise", *["zero_noise"] * settings.zero_noise]
    folders, identity = checkpointer.folders, checkpointer.identity
    results = stored_or_played(folders, identity, key, names, played, screen.phase, has_success=parts.env.has_success)
    base, prior = results["base"], results["base_actor_noise"]
    change = prior.score - base.score
    difference = f"{change:+.1%}" if base.successes else digits.fixed(change, 2, "+")
    screen.phase(f"base policy: {report.shown(base)}; with the actor's noise: {report.shown(prior)} ({difference})")
    for text in filter(None, (report.no_success(base, prior), opposed_reward(base), report.not_repeated(base, prior))):
        screen.phase(as_typed(text))
    return results


def _summary(
    parts: Parts, monitor: Monitor, checkpointer: Checkpointer, results: Mapping[str, Evaluation], counters: Counters
) -> dict[str, Any]:
    """Return the content of summary.json."""
    base, prior, zero, steered = map(results.get, ("base", "base_actor_noise", "zero_noise", "steered"))
    assert steered is not None
    return {
        "base": base and summary.summary(base),
        "base_under_actor_noise": prior and summary.summary(prior),
        "zero_noise": zero and summary.summary(zero),
        "steered": summary.summary(steered),
        **summary.comparison(base, steered),
        "by_instruction": {
            name: one and summary.by_instruction(one) for name, one in (("base", base), ("steered", steered))
        },
        "num_worlds": parts.num_worlds,
        "env_steps": counters.env_steps,
        "decisions": counters.decisions,
        "gradient_steps": counters.gradient_steps,
        "training_episodes": counters.episodes,
        "best_validation": monitor.best_score,
        "best_checkpoint": monitor.best_name,
        "collapse": monitor.collapse,
        **monitor.times(),
        "policy_sha256": {"before": checkpointer.identity["policy_sha256"], "after": parts.policy_sha256()},
        "seed": parts.settings.seed,
        "noise_choice": read_choice(checkpointer.folder),
        "packages": provenance.package_versions(),
        "requested": requested(parts, checkpointer),
    }


def _conclude(
    folder: RunFolder,
    results: Mapping[str, Evaluation],
    seconds: float,
    screen: Screen,
    confirmation: Confirmation | None,
    film: Path | None,
    failure: Exception | None,
) -> None:
    """Print the table, the policy that the run returns, the paths of all files, and the next command.

    Raises UserError with the `failure` of the video, if any; a trial would lose its score by that, and announces it.
    """
    screen.print(report.summary_table(results))
    if (apart := report.unpaired_sentence(results.get("base"), results["steered"])) is not None:
        screen.print(apart)
    screen.phase(f"done after {clock(seconds)} of work, without loading and building the simulation")
    if confirmation is not None:
        screen.print(f"returned:       the {returned_name(confirmation)} policy")
    pictures = [path for path in (folder.learning_curve, film) if path is not None and path.is_file()]
    if pictures:
        screen.print(f"pictures:       {'  '.join(map(str, pictures))}")
    screen.print(f"numbers:        {folder.summary}")
    screen.print(f"evaluate again: {typed('eval.py')} {folder.eval_option}")
    if failure is not None:
        sentence = f"no video was made ({type_and_text(failure)}); all other results are there"
        if not folder.is_trial:
            raise UserError(sentence) from failure
        screen.phase(sentence)


def make_checkpointer(
    parts: Parts,
    folder: RunFolder,
    screen: Screen,
    signals: Signals,
    *,
    keep: int,
    minutes: float | None,
    other: Path | None,
) -> Checkpointer:
    """Build the run's `Checkpointer`; checkpoints belong to one policy's weights."""
    identity = parts.whole_identity()
    if isinstance(parts.algorithm, Searcher):
        identity["decisions"] = parts.settings.decisions  # which its rounds are planned for
    return Checkpointer(folder, identity, signals, screen.phase, keep=keep, minutes=minutes, other=other)


def requested(parts: Parts, checkpointer: Checkpointer) -> dict[str, Any]:
    """Return all values that a run's results depend on, except the code."""
    return {**checkpointer.identity, **asdict(parts.settings)}


def _configs(cfg: DictConfig, choice: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the files of `.hydra`: those that Hydra itself would write before the checks, and noise=auto's choice."""
    hydra: Any = HydraConfig.instance().cfg
    chosen = {} if choice is None else {"noise.json": json.dumps(choice, indent=2)}
    return {
        **chosen,
        "config.yaml": OmegaConf.to_yaml(cfg),
        "hydra.yaml": OmegaConf.to_yaml(hydra),
        "overrides.yaml": OmegaConf.to_yaml(hydra.hydra.overrides.task),
    }
