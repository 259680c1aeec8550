"""What eval.py does with one saved run: play its final evaluation again, or film single worlds of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dsrl.evaluation import report, video
from dsrl.evaluation.episodes import (
    Act,
    Evaluation,
    base_noise,
    check_judge,
    chosen_noise,
    paired,
    play_worlds,
)
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run import provenance
from dsrl.run.console import Screen
from dsrl.run.folder import RunFolder, write_json
from dsrl.run.train import build_simulation, play_final, policy_sha256, shown

if TYPE_CHECKING:
    from dsrl.run.build import Parts
    from dsrl.run.saved_runs import Request

MakeAct = Callable[[NoiseActionEnv], Act]


def evaluate(parts: Parts, folder: RunFolder, request: Request, state: Any, screen: Screen) -> float:
    """Play the final evaluation of a saved run; `state` is its checkpoint, None for the base policy.

    Writes eval.json with all that is needed to repeat it, or, where `request.film` names worlds, one film each.
    Returns the score. Raises ValueError for a film of a task without cameras.
    """
    act = _asked_act(parts, request, state)
    has_base = policy_sha256(parts) is not None and state is not None
    if request.film:
        return _film(parts, folder, act, request.film, has_base, screen)
    build_simulation(parts, screen)
    episodes = request.episodes or parts.settings.eval_episodes
    first_seed = parts.settings.test_seed if request.seed is None else request.seed
    worlds: dict[str, Any] = {"episodes": episodes, "first_seed": first_seed}
    base = None
    if request.base and has_base:
        screen.phase(f"base policy on {episodes} worlds from seed {first_seed} …")
        base = play_final(parts, base_noise(parts.policy.noise_shape), screen, **worlds)
    screen.phase(f"checkpoint {request.checkpoint} on {episodes} worlds from seed {first_seed} …")
    result = play_final(parts, act(parts.env), screen, **worlds)
    _show(request, base, result, screen, can_film=video.can_film(parts.task))
    asked = {**asdict(request), "episodes": episodes, "seed": first_seed}
    write_json(folder.path / "eval.json", {"request": asked, **_written(parts, folder, request, base, result)})
    screen.phase(f"written to {folder.path / 'eval.json'}")
    return result.score


def _asked_act(parts: Parts, request: Request, state: Any) -> MakeAct:
    """The noise that is asked for, as a function of the environment it will be played in."""
    if state is None:
        return lambda env: base_noise(parts.policy.noise_shape)
    algorithm = parts.make_algorithm()
    algorithm.load_state_dict(state)
    best_of = request.best_of or (None if request.stochastic else parts.settings.best_of)
    check_judge(algorithm, best_of)
    stochastic = request.stochastic or None
    return lambda env: chosen_noise(env, algorithm, parts.noise, best_of=best_of, stochastic=stochastic)


def _written(
    parts: Parts, folder: RunFolder, request: Request, base: Evaluation | None, result: Evaluation
) -> dict[str, Any]:
    """The content of eval.json besides the request."""
    return {
        "result": result.summary(),
        "base": base and base.summary(),
        "paired": base and paired(base, result),
        "by_instruction": result.by_instruction(),
        "failures": result.failures,
        "worlds": asdict(result),
        "base_worlds": base and asdict(base),
        "config": folder.config.read_text() if folder.config.is_file() else None,
        "config_sha256": folder.config_sha256(),
        "checkpoint_sha256": folder.checkpoint_sha256(request.checkpoint),
        "policy_sha256": policy_sha256(parts),
        "packages": report.package_versions(),
        "environment": provenance.environment(),
    }


def _show(request: Request, base: Evaluation | None, result: Evaluation, screen: Screen, *, can_film: bool) -> None:
    """Tables of what was played, the paired test, and the worlds that failed."""
    played = {request.checkpoint: result} if base is None else {"base": base, request.checkpoint: result}
    screen.console.print(report.summary_table(played))
    pair = base and paired(base, result)
    if pair:
        screen.console.print(report.paired_sentence(pair))
    if len(result.by_instruction()) > 1:
        screen.console.print(report.instruction_table(base, result))
    if result.failures:
        first = ", ".join(map(str, result.failures[:10])) + (" …" if len(result.failures) > 10 else "")
        screen.console.print(f"failed worlds ({len(result.failures)}): {first}")
        if can_film:
            screen.console.print(f"film one:  python eval.py run={request.run} film={result.failures[0]}")


def _film(parts: Parts, folder: RunFolder, act: MakeAct, seeds: Sequence[int], has_base: bool, screen: Screen) -> float:
    """Film each world under the base policy and under the asked one, side by side; returns the asked one's score."""
    if not video.can_film(parts.task):
        raise ValueError("film needs a camera and this task has none; leave film out")
    build_simulation(parts, screen)
    scores = []
    for seed in seeds:
        asked, result = _filmed(parts, act, seed)
        base = _filmed(parts, lambda env: base_noise(parts.policy.noise_shape), seed)[0] if has_base else asked
        path = folder.path / f"world_{seed}.mp4"
        video.write_mp4(path, video.side_by_side(base, asked, [seed]) if has_base else video.alone(asked, [seed]))
        screen.phase(f"world {seed}: {shown(result)}, filmed in {path}")
        scores.append(result.score)
    return sum(scores) / len(scores)


def _filmed(parts: Parts, act: MakeAct, seed: int) -> tuple[video.Film, Evaluation]:
    film = video.Film(parts.task, 1)
    env = NoiseActionEnv(film, parts.policy, parts.noise, parts.env.horizon)
    return film, play_worlds(env, act(env), [seed])
