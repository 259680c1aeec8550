"""Plays the steered policy of a run on the robot, without an export: python -m my_robot.play outputs/arm 10"""

import sys
from pathlib import Path

import torch

from dsrl.evaluation.noise_sources import Act, evaluation_noise
from dsrl.run.components.build import build
from dsrl.run.components.parts import Parts
from dsrl.run.config.settings import saved_config
from dsrl.run.evaluate import check_same_policy
from dsrl.run.saved.folder import RunFolder


def load(run: str) -> tuple[Parts, Act]:
    """Return task and policy of a run, and the noise that its best checkpoint chooses."""
    folder = RunFolder(Path(run))
    parts = build(saved_config(folder.path, "run", ["my_robot"]), print)
    check_same_policy(parts, folder)
    parts.algorithm.load_state_dict(folder.load("best"))
    return parts, evaluation_noise(parts.algorithm, parts.noise, best_of=parts.settings.best_of)


@torch.no_grad()
def play(parts: Parts, noise: Act, seed: int) -> bool:
    """Play one episode; returns whether it succeeds. The seed is that of noise, where the policy is played by draws."""
    task, policy, decision, over, success = parts.task, parts.policy, 0, False, False
    task.reset(torch.arange(1), [seed])
    while not over:
        encoding = policy.encode(task.observe())
        chunk = policy.decode(encoding, noise(encoding, [seed], decision))  # [1, T, A]
        for action in chunk[:, : parts.env.horizon].unbind(1):
            step = task.step(action)
            success |= bool(step.success)
            over = bool(step.terminated | step.truncated)
            if over:
                break
        decision += 1
    return success


if __name__ == "__main__":
    parts, noise = load(sys.argv[1])
    print(sum(play(parts, noise, seed) for seed in range(int(sys.argv[2]))), "of", sys.argv[2])
