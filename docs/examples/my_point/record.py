"""Records demonstrations of a careless operator into a LeRobotDataset: python record.py data/my_point"""

import sys

import gymnasium
import my_point  # noqa: F401  registers MyPoint-v0
import numpy as np
from datasets import disable_progress_bars
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def column(size):
    return {"dtype": "float32", "shape": (size,), "names": None}


def record(folder, episodes):
    disable_progress_bars()  # one for each episode
    env, generator = gymnasium.make("MyPoint-v0"), np.random.default_rng(0)
    columns = {"observation.state": column(4), "action": column(2)}
    dataset = LeRobotDataset.create("me/my_point", 10, columns, root=folder, use_videos=False, video_backend="pyav")
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        miss = generator.normal(0, 0.15, 2)  # the operator aims beside the goal, differently in each episode
        over = False
        while not over:
            way = observation[2:] + miss - observation[:2]
            action = np.clip(5 * way, -1, 1).astype(np.float32)
            dataset.add_frame({"observation.state": observation, "action": action, "task": "reach the goal"})
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        dataset.save_episode()
    dataset.finalize()


if __name__ == "__main__":
    record(sys.argv[1], episodes=100)
