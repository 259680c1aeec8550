"""A point on a plane that has to reach a goal: an environment of one's own, as gymnasium wants it."""

import gymnasium
import numpy as np


class MyPoint(gymnasium.Env):
    """Observes position and goal [4]; an action [2] in -1 to 1 is a velocity."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # every draw below comes from the seed: a seed is a world
        self.position, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._observation(), {}

    def step(self, action):
        self.position = self.position + 0.1 * np.asarray(action)
        reached = bool(np.linalg.norm(self.goal - self.position) < 0.1)
        return self._observation(), float(reached), reached, False, {"is_success": reached}

    def _observation(self):
        return np.concatenate([self.position, self.goal]).astype(np.float32)


gymnasium.register("MyPoint-v0", MyPoint, max_episode_steps=40)
