"""Plays the exported policy in the first 100 test worlds of its run: python play.py data/my_policy"""

import sys

import gymnasium
import my_point  # noqa: F401  registers MyPoint-v0
import torch
from lerobot_policy_dsrl.modeling_dsrl import DsrlPolicy


def succeeds(policy, env, seed):
    policy.reset()  # a new episode
    observation, _ = env.reset(seed=seed)
    over = False
    while not over:
        action = policy.select_action({"observation.state": torch.from_numpy(observation)[None]})  # [1, 4] -> [1, 2]
        observation, _, terminated, truncated, info = env.step(action[0].numpy())
        over = terminated or truncated
    return info["is_success"]


if __name__ == "__main__":
    policy, env = DsrlPolicy.from_pretrained(sys.argv[1]), gymnasium.make("MyPoint-v0")
    print(sum(succeeds(policy, env, 1000000 + i) for i in range(100)), "of 100")
