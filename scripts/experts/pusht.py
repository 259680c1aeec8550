"""Demonstrates PushT by simulating some 100 pushes in a private copy of the world.

    poses of agent and block --pushes along the outline--> (start beside the block, direction)
        --simulate to 8 control steps each--> distance of the block's corners from their goal --lowest--> plan
    plan = way around the block to the start, then the push --one target position per control step--> actions

Model-predictive control with straight pushes as its actions; it plans anew after each push. Pushes lie on a grid that
turns with the block, so that equal poses give equal actions, which are easier to clone than pushes drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task.pusht import PushTTask

Point = tuple[float, float]

STRIDE = 50.0  # pixels from the agent to its target on free ways; it moves half of them in a control step
ARRIVED, MOVED = 4.0, 2.0  # pixels from the start of a push, and of the block on the way there
GAP = 20.0  # from the block's edge to the agent's centre at the start of a push; the agent's radius is 15
FAR = 1000  # strides of a way that is none
SPACING, TURNS = 14.0, (-0.35, 0.0, 0.35)  # pixels between starts along the outline, and directions into it, in radians
PUSH_STEPS = 8  # control steps of a push, at most
COST_OF_STEP = 0.25  # mean distance of the corners, in pixels, that one control step is worth
CENTRE, RADIUS = (0, 45), 108.0  # of a circle about the T with room for the agent
CORNERS = ((-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30))  # of the T, in order
SUBSTEPS, STEP_SECONDS, STIFFNESS, DAMPING = 10, 0.01, 100.0, 20.0  # of the environment's own control


@dataclass(frozen=True)
class Push:
    """A push that was simulated: the agent's start, its targets from there on and the cost that they leave."""

    start: Point
    side: int  # sense of the way around the block, 1 or -1
    targets: tuple[Point, ...]
    cost: float


class PushTExpert:
    """Demonstrates PushT on the block's corners, or on images, as lerobot's environment of that name observes it."""

    hz, low, high = 10, 0.0, 512.0

    def __init__(self, num_envs: int, observation: str) -> None:
        """Make `num_envs` worlds."""
        self.task = PushTTask(cast(Literal["images", "state"], observation), num_envs, "sparse", None, processes=False)
        self.robot = 2 if observation == "state" else None
        self._planners = [Planner() for _ in range(num_envs)]

    def begin(self) -> None:
        """Drop the plans of earlier episodes."""
        for planner in self._planners:
            planner.begin()

    def actions(self, over: Tensor) -> NDArray[Any]:
        """Return the next target position of every agent [B, 2]."""
        chosen = self.task.hold().numpy().astype(float)
        for row, info in enumerate(self.task.call("_get_info")):
            if not over[row]:
                chosen[row] = self._planners[row].get_action(info)
        return chosen


class Planner:
    """Chooses the target position of the agent in one world, one control step after the other."""

    def __init__(self) -> None:
        """Make the copy of the world."""
        from gym_pusht.envs.pusht import PushTEnv

        self._copy: Any = PushTEnv(obs_type="state")
        self._copy.reset(seed=0)
        self._filter = self._copy._block_shapes[0].filter
        x, y, angle = self._copy.goal_pose
        self._goal = self._corners((x, y), angle)
        self.begin()

    def begin(self) -> None:
        """Begin a new episode."""
        self._push: Push | None = None
        self._seen: Sequence[float] = ()  # pose of the block when the push was chosen
        self._step, self._pushing = 0, False

    def get_action(self, info: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the next target position [2], by the environment's `info` about agent and block."""
        agent, pose = _pair(info["pos_agent"]), tuple(float(number) for number in info["block_pose"])
        push = self._push
        moved = not self._pushing and bool(self._seen) and math.dist(pose, self._seen) > MOVED
        if push is None or moved or self._step == len(push.targets):
            push = self._push = self._choose(agent, pose)
            self._seen, self._step, self._pushing = pose, 0, False
        self._pushing = self._pushing or math.dist(agent, push.start) < ARRIVED
        if self._pushing:
            self._step += 1
            return np.array(push.targets[self._step - 1])
        self._place(agent, pose)
        return np.array(self._way(agent, push.start, push.side))

    def _choose(self, agent: Point, pose: Sequence[float]) -> Push:
        """Return the push that leaves the lowest cost, its way included."""
        pace = float(np.clip(self._cost(pose[:2], pose[2]) / 4, 3, 14))  # pixels in a control step: slow near the goal
        pushes = [self._simulate(agent, start, way, pace, pose) for start, way in self._pushes(pose)]
        return min(pushes, key=lambda push: push.cost)

    def _pushes(self, pose: Sequence[float]) -> Iterator[tuple[Point, Point]]:
        """Yield starts beside the block, free of it and inside of the walls, with directions into it."""
        corners = self._corners(pose[:2], pose[2])
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            length = math.hypot(x1 - x0, y1 - y0)
            outward = math.atan2(-(x1 - x0), y1 - y0)
            for share in (np.arange(round(length / SPACING)) + 0.5) / round(length / SPACING):
                for turn in TURNS:
                    way = outward + math.pi + turn
                    touched = (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
                    start = (touched[0] - GAP * math.cos(way), touched[1] - GAP * math.sin(way))
                    if _inside(start) and self._is_free(start, pose):
                        yield start, (math.cos(way), math.sin(way))

    def _is_free(self, point: Point, pose: Sequence[float]) -> bool:
        """Return whether the agent fits at `point`."""
        self._place(point, pose)
        nearest = self._copy.space.point_query(point, 16.0, self._filter)
        return all(found.shape.body is not self._copy.block for found in nearest)

    def _simulate(self, agent: Point, start: Point, way: Point, pace: float, pose: Sequence[float]) -> Push:
        """Push from `start` and return the part of the push after which the block is nearest to its goal."""
        self._place(agent, pose)
        side, strides = self._side(agent, start)
        steps = 2 * strides + 2 * math.dist(agent, start) / STRIDE
        self._place(start, pose)
        targets: list[Point] = []
        best = Push(start, side, (), math.inf)
        for step in range(1, PUSH_STEPS + 1):
            far = (GAP - 15) + pace * step
            targets.append((start[0] + far * way[0], start[1] + far * way[1]))
            self._advance(targets[-1])
            body = self._copy.block
            cost = self._cost(tuple(body.position), body.angle) + COST_OF_STEP * (steps + step)
            if cost < best.cost:
                best = Push(start, side, tuple(targets), cost)
        return best

    def _way(self, agent: Point, start: Point, side: int) -> Point:
        """Return the next target on the way to `start`: straight, or on a circle about a block between."""
        if self._is_clear(agent, start):
            return _toward(agent, start, STRIDE)
        return self._on_circle(agent, 0 if math.dist(agent, self._centre()) < RADIUS - 10 else side)

    def _side(self, agent: Point, start: Point) -> tuple[int, int]:
        """Return the sense in which the circle leads to `start` between the walls, and in how many strides.

        Without such a way the number is FAR.
        """
        if self._is_clear(agent, start):
            return 1, 0
        found = []
        for sense in (1, -1):
            for count in range(1, round(2 * math.pi * RADIUS / STRIDE)):
                point = self._on_circle(agent, sense * count)
                if not _inside(point):
                    break
                if self._is_clear(point, start):
                    found.append((count, sense))
                    break
        count, sense = min(found, default=(FAR, 1))
        return sense, count

    def _on_circle(self, agent: Point, strides: int) -> Point:
        """Return the point of the circle that is `strides` from the point nearest to the agent."""
        x, y = self._centre()
        angle = math.atan2(agent[1] - y, agent[0] - x) + strides * STRIDE / RADIUS
        return (x + RADIUS * math.cos(angle), y + RADIUS * math.sin(angle))

    def _centre(self) -> Point:
        return _pair(self._copy.block.local_to_world(CENTRE))

    def _is_clear(self, agent: Point, start: Point) -> bool:
        """Return whether the straight way passes the block of the copy."""
        hits = self._copy.space.segment_query(agent, start, 17.0, self._filter)
        return all(hit.shape.body is not self._copy.block for hit in hits)

    def _place(self, agent: Point, pose: Sequence[float]) -> None:
        """Put agent and block of the copy to rest; `pose` is the block's position and angle."""
        copy = self._copy
        copy.agent.position, copy.agent.velocity = agent, (0, 0)
        copy.block.angle = pose[2]  # before the position: it turns the block about its centre of mass
        copy.block.position = tuple(pose[:2])
        copy.block.velocity, copy.block.angular_velocity = (0, 0), 0
        copy.space.reindex_shapes_for_body(copy.block)
        copy.space.reindex_shapes_for_body(copy.agent)

    def _advance(self, target: Point) -> None:
        """Simulate one control step, as the environment does, without observation and reward."""
        agent = self._copy.agent
        for _ in range(SUBSTEPS):
            (x, y), (vx, vy) = agent.position, agent.velocity
            ax, ay = STIFFNESS * (target[0] - x) - DAMPING * vx, STIFFNESS * (target[1] - y) - DAMPING * vy
            agent.velocity = (vx + ax * STEP_SECONDS, vy + ay * STEP_SECONDS)
            self._copy.space.step(STEP_SECONDS)

    def _corners(self, position: Sequence[float], angle: float) -> list[Point]:
        c, s = math.cos(angle), math.sin(angle)
        return [(position[0] + c * x - s * y, position[1] + s * x + c * y) for x, y in CORNERS]

    def _cost(self, position: Sequence[float], angle: float) -> float:
        """Return the mean distance of the block's corners from their goal, in pixels."""
        pairs = zip(self._corners(position, angle), self._goal, strict=True)
        return sum(math.dist(one, other) for one, other in pairs) / len(CORNERS)


def _inside(point: Point) -> bool:
    """Return whether the agent stands clear of the walls."""
    return all(22 < number < 490 for number in point)


def _pair(numbers: Sequence[float]) -> Point:
    return (float(numbers[0]), float(numbers[1]))


def _toward(here: Point, there: Point, stride: float) -> Point:
    distance = math.dist(here, there)
    share = min(1.0, stride / max(distance, 1e-9))
    return (here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1]))
