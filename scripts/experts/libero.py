"""Demonstrates pick-and-place tasks of LIBERO by the poses of their objects, which a policy does not see.

    poses of gripper, object and place --above the object, down, close, up, above the place, open--> target position
    target - gripper --in units of the controller--> relative action [x, y, z, three angles, gripper]

It reads goals with a single `in` or `on`, such as all of libero_object, and turns the gripper by a quarter where the
object is too wide otherwise. A dropped object is picked up again. Neighbours are not looked at: in libero_object/1 the
hand comes down on one and never succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task.libero import LiberoTask

Vector = NDArray[np.float64]

METRES, RADIANS = 0.05, 0.5  # that the controller aims ahead of the gripper at an action of 1
GAIN = 2.0  # of the distance to the target: the arm covers a third of what the controller aims ahead in a control step
OPENING = 0.07  # metres between the fingers that an object may take
NEAR = 0.02  # metres beside an object at which the gripper goes down
HOVER = 0.08  # metres above an object until then
DEPTH, GROUND = 0.03, 0.008  # metres of the fingers below the top of an object, at most, and above its bottom
ARRIVED = 0.012  # metres above the grasp at which the fingers close
CLOSING = 6  # control steps until they have closed
CLEARANCE = 0.05  # metres above the place at which the object travels
ABOVE = 0.03  # metres beside the place's centre at which the fingers open
WAITING = 15  # control steps until an object that was let go is picked up again
UP = np.array([0.0, 0.0, 1.0])
CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])  # of a box


class LiberoExpert:
    """Demonstrates one task of LIBERO."""

    hz, robot, low, high = 20, None, -1.0, 1.0

    def __init__(self, suite: str, id: int, num_envs: int, image_size: int) -> None:
        """Make `num_envs` worlds of task `id`. Raises ValueError for tasks that are no pick-and-place."""
        seen = {"observation_height": image_size, "observation_width": image_size, "hard_reset": False}
        self.task = LiberoTask(cast(Any, suite), id, num_envs, "sparse", None, False, seen)  # lerobot checks the suite
        self._named = f"{suite}/{id}"
        self._pickers: list[Picker] = []

    def begin(self) -> None:
        """Forget earlier episodes."""
        self._pickers = [Picker(world._env.env, self._named) for world in self.task.call("unwrapped")]

    def actions(self, over: Tensor) -> NDArray[Any]:
        """Return the actions [B, 7]."""
        chosen = self.task.hold().numpy().astype(float)
        for row, picker in enumerate(self._pickers):
            if not over[row]:
                chosen[row] = picker.get_action()
        return chosen


class Picker:
    """Moves one object to its place in one world."""

    def __init__(self, world: Any, named: str) -> None:
        """Read the goal of robosuite's environment `world`. Raises ValueError."""
        goal = world.parsed_problem["goal_state"]
        if len(goal) != 1 or goal[0][0] not in ("in", "on") or goal[0][1] not in world.obj_body_id:
            raise ValueError(f"--name {named} asks for {goal}, not for one object in its place; choose another task")
        self._world, self._place = world, goal[0][2]
        sites = world.object_sites_dict  # parts of objects, such as the inside of a basket
        owner = getattr(sites.get(self._place), "parent_name", None) or self._place
        self._held, self._around = _geoms_of(world, goal[0][1]), _geoms_of(world, owner)
        self._still = 0  # control steps since the fingers began to close or, negative, to open
        self._turn: float | None = None  # radians, of the gripper about the vertical

    def get_action(self) -> Vector:
        """Return the next action [7]."""
        low, high = self._extent(self._held)
        hand, middle = self._hand(), (low + high) / 2
        if self._turn is None:
            wide = high[1] - low[1] > OPENING
            self._turn = np.pi / 2 if wide and high[0] - low[0] < high[1] - low[1] else 0.0
        if self._still > CLOSING and np.linalg.norm(middle - hand) > 0.08:
            self._still = 0  # the object has slipped away
        if self._still < 0:
            self._still += 1
            return self._action(hand, hand + 0.02 * UP, closed=False)
        if self._still > CLOSING:
            return self._carry(hand, low, high)
        return self._reach(hand, low, high)

    def _reach(self, hand: Vector, low: Vector, high: Vector) -> Vector:
        """Return the action towards the object, or one that closes the fingers around it."""
        middle = (low + high) / 2
        grasp = np.array([*middle[:2], max(high[2] - DEPTH, low[2] + GROUND)])
        near = np.linalg.norm(hand[:2] - grasp[:2]) < NEAR
        if self._still or (near and hand[2] - grasp[2] < ARRIVED):
            self._still += 1
            return self._action(hand, grasp, closed=True)
        return self._action(hand, grasp if near else grasp + HOVER * UP, closed=False)

    def _carry(self, hand: Vector, low: Vector, high: Vector) -> Vector:
        """Return the action towards the place, or one that opens the fingers above it."""
        place, top = self._target()
        middle = (low + high) / 2
        if np.linalg.norm(middle[:2] - place[:2]) < ABOVE:
            self._still = -WAITING
            return self._action(hand, hand, closed=False)
        height = hand[2] + top + CLEARANCE - low[2]
        ahead = hand[:2] + (place[:2] - middle[:2]) * (height - hand[2] < 0.03)  # up first
        return self._action(hand, np.array([*ahead, height]), closed=True)

    def _action(self, hand: Vector, target: Vector, closed: bool) -> Vector:
        """Return the action that moves the hand towards `target` and holds its fingers downwards."""
        assert self._turn is not None
        move = GAIN * (target - hand) / METRES
        cosine, sine = np.cos(self._turn), np.sin(self._turn)
        wanted = np.array([[-sine, cosine, 0], [cosine, sine, 0], [0, 0, -1]])  # its x runs between the fingers
        turn = _rotation(wanted @ self._orientation().T) / RADIANS
        return np.clip([*move, *turn, 1.0 if closed else -1.0], -1, 1)

    def _hand(self) -> Vector:
        return np.array(self._world._eef_xpos)

    def _orientation(self) -> Vector:
        return np.array(self._world.robots[0].controller.ee_ori_mat)

    def _extent(self, geoms: Sequence[int]) -> tuple[Vector, Vector]:
        """Return the lowest and highest x, y and z of a body."""
        model, data = self._world.sim.model, self._world.sim.data
        corners = []
        for geom in geoms:
            middle, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
            corners.append((middle + CORNERS * half) @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
        points = np.concatenate(corners)
        return points.min(0), points.max(0)

    def _target(self) -> tuple[Vector, float]:
        """Return the middle of the place [3] and the height above which objects must pass."""
        if not self._around:  # a marked part of the table
            middle = np.array(self._world.sim.data.get_site_xpos(self._place))
            return middle, float(middle[2])
        low, high = self._extent(self._around)
        return (low + high) / 2, float(high[2])


def _geoms_of(world: Any, name: str) -> list[int]:
    """Return the solid geoms of an object and of the bodies on it; none for a name that is no object's."""
    model = world.sim.model
    bodies = {world.obj_body_id[name]} if name in world.obj_body_id else set()
    for body, parent in enumerate(model.body_parentid):  # children follow their parents
        if parent in bodies:
            bodies.add(body)
    return [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] in bodies and model.geom_contype[geom]]


def _rotation(matrix: Vector) -> Vector:
    """Return a rotation as its axis times its angle."""
    angle = np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    return axis * (0.5 if angle < 1e-6 else angle / (2 * np.sin(angle)))
