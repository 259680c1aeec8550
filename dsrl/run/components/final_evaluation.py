"""Builds the simulation, plays final evaluations with a live line, and records videos: shared by train and eval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dsrl.evaluation import video
from dsrl.evaluation.episodes import Evaluation, evaluate, play_worlds
from dsrl.evaluation.noise_sources import Act, base_noise
from dsrl.evaluation.report import shown
from dsrl.interfaces import Filmable, Restorable, Task
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.rules import task_rules
from dsrl.run.components.parts import Parts, whole_fps
from dsrl.run.components.recorded_data import other_sentences
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.state_json import flatten
from dsrl.run.terminal.console import Screen, clock
from dsrl.run.terminal.errors import type_and_text
from dsrl.run.terminal.signals import Signals


def build_simulation(parts: Parts, screen: Screen) -> float:
    """Start the simulator and return the seconds that took, here or before; kernels are compiled once per machine.

    Raises ValueError for a task, or a policy, that breaks a rule.
    """
    if parts.setup_seconds is not None:
        return parts.setup_seconds
    begin = time.monotonic()
    screen.phase("building the simulation …")
    parts.env.reset(seeds=list(range(len(parts.env))))
    check_state(parts.task)
    seconds = time.monotonic() - begin
    screen.phase(f"simulation ready after {clock(seconds)}")
    remark = other_sentences(parts)
    if remark is not None:
        screen.phase(remark)
    return seconds


def check_state(task: Task) -> None:
    """Raise ValueError where no checkpoint takes the state of a task's worlds: training would end at the first one."""
    state = task.state_dict() if isinstance(task, Restorable) else None
    try:
        flatten(state, "state_dict()", {})
    except TypeError as error:
        advice = "return torch tensors, numbers, text, and lists and dictionaries of them"
        raise ValueError(f"task {type(task).__name__} cannot be saved in mid-episode: {error}; {advice}") from error


def check_picture(parts: Parts) -> None:
    """Draw one picture where a video follows training. Raises ValueError where the task cannot draw it."""
    task = parts.task
    try:
        if parts.settings.video_episodes and isinstance(task, Filmable):
            task_rules.picture(task, 1)
    except Exception as error:  # of any renderer
        found = f"task {type(task).__name__} draws no picture for the video ({type_and_text(error)})"
        raise ValueError(f"{found}; mend its picture, or type video_episodes=0") from error


def play(
    parts: Parts,
    act: Act,
    screen: Screen,
    *,
    episodes: int,
    first_seed: int,
    signals: Signals | None = None,
) -> Evaluation:
    """Evaluate on the worlds `first_seed …` with a live line. Raises `Stopped` where `signals` requests it.

    Where the task, the policy or Ctrl-C ends it before, the result so far is announced.
    """
    done: Evaluation | None = None

    def on_progress(so_far: Evaluation) -> None:
        nonlocal done
        done = so_far
        line.update(len(so_far.seeds), shown(so_far))
        if signals is not None:
            signals.stop_if_requested()

    try:
        with screen.live("evaluation", episodes, "episodes") as line:
            return evaluate(parts.env, act, episodes=episodes, first_seed=first_seed, on_progress=on_progress)
    except (Exception, KeyboardInterrupt):
        result = "" if done is None else f" ({shown(done)})"
        screen.phase(f"this evaluation ended after {len(done.seeds) if done else 0} of {episodes} episodes{result}")
        raise


def record_video(parts: Parts, acts: Sequence[Act], seeds: Sequence[int]) -> tuple[bytes, list[Evaluation]]:
    """Play the worlds `seeds` under each of `acts`; returns one mp4, side by side, and their evaluations."""
    recorders, results = [], []
    for act in acts:
        recorder = video.VideoRecorder(parts.task, len(seeds))
        env = NoiseActionEnv(recorder, parts.policy, parts.noise, parts.env.horizon)
        results.append(play_worlds(env, act, seeds))
        recorders.append(recorder)
    side_by_side = len(recorders) == 2
    fps, first = whole_fps(parts.task) or video.FPS, recorders[0]
    drawn = video.side_by_side(first, recorders[1], seeds, fps) if side_by_side else video.alone(first, seeds, fps)
    return video.mp4(drawn, fps), results


def film_comparison(
    parts: Parts, steered: Act, folder: RunFolder, screen: Screen
) -> tuple[Path, None] | tuple[None, Exception | None]:
    """Write the video of base and steered policy; returns its path, if any, and the error of one that fails.

    That costs the video alone: it is to be shown when the results of training are written. One of before, which shows
    the policy before a continuation, is removed then.
    """
    try:
        content = _record_comparison(parts, steered, screen)
    except Exception as error:  # of any simulator or renderer
        folder.video.unlink(missing_ok=True)
        return None, error
    if content is None:
        return None, None
    folder.write(folder.video, content)
    return folder.video, None


def _record_comparison(parts: Parts, steered: Act, screen: Screen) -> bytes | None:
    """Record the first test worlds under base and steered policy, as an mp4; None where there is nothing to show."""
    num = min(parts.settings.video_episodes, len(parts.env), parts.settings.eval_episodes)
    if not num:
        return None
    if not video.can_record(parts.task):
        screen.phase("no video: this task has no camera and draws no picture")
        return None
    if parts.policy_sha256() is None:
        screen.phase(
            "no video: there is no base policy to show beside; eval.py with video_seeds=[…] shows this one alone"
        )
        return None
    screen.phase(f"recording a video of {num} of these worlds …")
    seeds = range(parts.settings.test_seed, parts.settings.test_seed + num)
    content, _ = record_video(parts, [base_noise(parts.policy.noise_shape), steered], seeds)
    return content
