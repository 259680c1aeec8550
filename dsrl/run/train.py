"""What train.py does, in order: base policy, training, steered policy on the same worlds, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsrl.evaluation import report, video
from dsrl.evaluation.collapse import naming_kept
from dsrl.evaluation.episodes import Act, Evaluation, base_noise, chosen_noise, paired, prior_noise
from dsrl.evaluation.episodes import evaluate as play
from dsrl.evaluation.report import shown as shown
from dsrl.logging import Logger
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run import provenance
from dsrl.run.console import Screen, clock
from dsrl.run.folder import RunFolder, write_json
from dsrl.run.monitor import Training
from dsrl.run.resume import Continuation
from dsrl.run.signals import Signals, Stopped

if TYPE_CHECKING:
    from dsrl.run.build import Parts


def train(
    parts: Parts, folder: RunFolder, loggers: Sequence[Logger], screen: Screen, thread: Continuation | None = None
) -> float:
    """The whole run; leaves summary, checkpoints, picture and video in `folder` and returns the steered score.

    It goes on where `thread` says, by default from the newest checkpoint in `folder`; where `folder` holds the summary
    of the very run that is asked for, that stands. Raises `Stopped` on a signal.
    """
    thread = thread or make_thread(parts, folder, screen, Signals(), keep=1, minutes=None, other=None)
    former = folder.finished(_asked(parts, thread))
    if former is not None:
        screen.phase(f"finished before ({folder.summary}); to run it again, name another hydra.run.dir")
        for logger in loggers:
            logger.close()
        return report.score_of(former["steered"])
    try:
        return _train(parts, folder, loggers, screen, thread)
    except Stopped:
        screen.phase(thread.farewell())
        for logger in loggers:
            logger.close()
        raise


def make_thread(
    parts: Parts,
    folder: RunFolder,
    screen: Screen,
    signals: Signals,
    *,
    keep: int,
    minutes: float | None,
    other: Path | None,
) -> Continuation:
    """What the run goes on from, see `Continuation`; checkpoints are those of one policy's weights."""
    identity = {**parts.identity, "policy_sha256": policy_sha256(parts)}
    return Continuation(folder, identity, signals, screen.phase, keep=keep, minutes=minutes, other=other)


def _train(parts: Parts, folder: RunFolder, loggers: Sequence[Logger], screen: Screen, thread: Continuation) -> float:
    settings, sha256_before = parts.settings, thread.identity["policy_sha256"]
    write_json(folder.environment, provenance.environment())
    training = Training(parts, folder, loggers, screen, thread)
    training.setup_seconds = build_simulation(parts, screen)
    thread.signals.stop_if_asked()

    bounded = training.algorithm.bounded
    base, base_boxed = _evaluate_base(parts, screen, thread, bounded=bounded) if sha256_before else (None, None)
    training.base = base
    with naming_kept(folder.checkpoint("best").parent):
        counters = training.run()

    screen.phase(f"steered policy (best checkpoint) on {settings.eval_episodes} test worlds …")
    training.algorithm.load_state_dict(folder.load("best"))

    def steered_act(env: NoiseActionEnv) -> Act:
        return chosen_noise(env, training.algorithm, parts.noise, best_of=settings.best_of)

    steered = play_final(parts, steered_act(parts.env), screen, signals=thread.signals)
    report.draw_learning_curve(folder.learning_curve, training.curve, base, steered)
    filmed = base is not None and _film(parts, folder, steered_act, screen)

    seconds = training.seconds
    summary = {
        "base": base and base.summary(),
        "base_under_actor_noise": base_boxed and base_boxed.summary(),
        "steered": steered.summary(),
        "paired": base and paired(base, steered),
        "by_instruction": {"base": base and base.by_instruction(), "steered": steered.by_instruction()},
        "env_steps": counters.env_steps,
        "decisions": counters.decisions,
        "gradient_steps": counters.gradient_steps,
        "training_episodes": counters.episodes,
        "collapse": training.collapse,
        "wall_time_s": seconds,
        "setup_time_s": training.setup_seconds,
        "policy_sha256": {"before": sha256_before, "after": policy_sha256(parts)},
        "seed": settings.seed,
        "packages": report.package_versions(),
        "asked": _asked(parts, thread),
    }
    results = {"base": base, "base, actor's noise": base_boxed, "steered": steered}
    known = {name: result for name, result in results.items() if result is not None}
    for logger in loggers:
        logger.log({f"final/{name}": result.score for name, result in known.items()}, counters.env_steps)
        if filmed:
            logger.video("base_vs_steered", folder.video, counters.env_steps)
        logger.close()
    write_json(folder.summary, summary)
    _conclude(folder, known, seconds, screen)
    return steered.score


def _asked(parts: Parts, thread: Continuation) -> dict[str, Any]:
    """All that a run's results depend on, but the code."""
    return {**thread.identity, **asdict(parts.settings)}


def policy_sha256(parts: Parts) -> str | None:
    """The digest of the policy's weights; None for a policy that has none, so that there is no base to steer."""
    digest: Callable[[], str] | None = getattr(parts.policy, "policy_sha256", None)
    return None if digest is None else digest()


def _evaluate_base(
    parts: Parts, screen: Screen, thread: Continuation, *, bounded: bool
) -> tuple[Evaluation, Evaluation]:
    """The unsteered policy: under its own noise, and under the noise that the actor will be able to choose."""
    settings = parts.settings
    within = f"within ±{parts.noise.magnitude}" if bounded else "unbounded"

    def played() -> dict[str, Evaluation]:
        screen.phase(f"base policy on {settings.eval_episodes} test worlds, independent N(0, I) noise …")
        base = play_final(parts, base_noise(parts.policy.noise_shape), screen, signals=thread.signals)
        screen.phase(f"base policy on the same worlds, N(0, I) as the actor gives noise ({within}) …")
        act = prior_noise(parts.noise, bounded=bounded)
        return {"base": base, "boxed": play_final(parts, act, screen, signals=thread.signals)}

    results = thread.base({"test_seed": settings.test_seed, "eval_episodes": settings.eval_episodes}, played)
    base, boxed = results["base"], results["boxed"]
    difference = f"{boxed.score - base.score:+.1%}" if base.successes else f"{boxed.score - base.score:+.2f}"
    screen.phase(f"base policy: {shown(base)}; with the actor's noise: {shown(boxed)} ({difference})")
    return base, boxed


def build_simulation(parts: Parts, screen: Screen) -> float:
    """Start what is heavy and return the seconds that took; it happens once per machine or process."""
    begin = time.monotonic()
    screen.phase("building the simulation …")
    parts.env.reset(seeds=list(range(len(parts.env))))
    seconds = time.monotonic() - begin
    screen.phase(f"simulation ready after {clock(seconds)}")
    return seconds


def play_final(
    parts: Parts,
    act: Act,
    screen: Screen,
    *,
    episodes: int | None = None,
    first_seed: int | None = None,
    signals: Signals | None = None,
) -> Evaluation:
    """The final evaluation with a live line; without `episodes` and `first_seed`, those of the settings.

    Raises `Stopped` where `signals` asks for it.
    """
    episodes = episodes or parts.settings.eval_episodes
    first_seed = parts.settings.test_seed if first_seed is None else first_seed
    with screen.live("evaluation", episodes, "episodes") as line:

        def on_progress(so_far: Evaluation) -> None:
            line.update(len(so_far.seeds), shown(so_far))
            if signals is not None:
                signals.stop_if_asked()

        return play(parts.env, act, episodes=episodes, first_seed=first_seed, on_progress=on_progress)


def _film(parts: Parts, folder: RunFolder, steered: Callable[[NoiseActionEnv], Act], screen: Screen) -> bool:
    """Replay the first test worlds under both policies and film them; False where there is nothing to see."""
    num = min(parts.settings.video_episodes, len(parts.env), parts.settings.eval_episodes)
    if not num or not video.can_film(parts.task):
        return False
    screen.phase(f"filming {num} of these worlds …")
    films = []
    for make_act in (lambda env: base_noise(parts.policy.noise_shape), steered):
        film = video.Film(parts.task, num)
        env = NoiseActionEnv(film, parts.policy, parts.noise, parts.env.horizon)
        play(env, make_act(env), episodes=num, first_seed=parts.settings.test_seed)
        films.append(film)
    seeds = range(parts.settings.test_seed, parts.settings.test_seed + num)
    video.write_mp4(folder.video, video.side_by_side(films[0], films[1], seeds))
    return True


def _conclude(folder: RunFolder, results: Mapping[str, Evaluation], seconds: float, screen: Screen) -> None:
    """The table, where everything lies and what to type next."""
    screen.console.print(report.summary_table(results))
    screen.phase(f"done after {clock(seconds)} of work besides building the simulation")
    pictures = [path for path in (folder.learning_curve, folder.video) if path.is_file()]
    screen.console.print(f"pictures:       {'  '.join(map(str, pictures))}")
    screen.console.print(f"figures:        {folder.summary}")
    screen.console.print(f"evaluate again: python eval.py run={folder.path}")
