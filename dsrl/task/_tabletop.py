"""Simulates a Panda and three coloured cubes on a table: worlds, control and cameras of the manipulation tasks.

action [B, 4] = gripper x, y, z (m), opening (m)        control="hand": batched inverse kinematics, hand pointing down
action [B, 9] = joint targets (rad), finger travel (m)  control="joint"

state [B, A]     = proprioception in the units of an action                      observation="images", two cameras
state [B, A + 9] = the same, then the named cube's centre, then the others' (m)  observation="state", no cameras
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Observation, Step
from dsrl.task._genesis import (
    CameraPlace,
    add_camera,
    attach_camera,
    drawing,
    make_scene,
    render,
    render_first,
    scene_state,
    set_scene_state,
    start_genesis,
)
from dsrl.task._genesis_indices import own_state
from dsrl.task._kernels import ESTIMATE, are_compiled, scene_name, watched
from dsrl.task._options import Steps
from dsrl.task._panda import light_panda

COLOURS = {"red": (0.85, 0.08, 0.08), "green": (0.08, 0.65, 0.12), "blue": (0.1, 0.2, 0.85)}
CUBE = 0.05  # m, edge
REST_HEIGHT = CUBE / 2  # m, centre of a cube on the table
MAX_OPENING = 0.08  # m, between the fingers
HOME = (0.40, 0.0, 0.40)  # m, where the gripper starts: above and behind the cubes, so that it hides none
DOWN = (0.0, 1.0, 0.0, 0.0)  # quaternion w, x, y, z
_GRIP_OFFSET = 0.1034  # m, from the frame of the hand to the point between the fingertips
_PHYSICS_DT = 0.01  # s
_PHYSICS_STEPS = 10  # per control step, which is 0.1 s
_ARM = list(range(7))
_FINGERS = [7, 8]
_HOME_JOINTS = (0.0, -0.35, 0.0, -2.2, 0.0, 1.85, 0.785)  # rad, start of the inverse kinematics of HOME

_CAMERAS = {
    "front": CameraPlace(position=(1.25, 0.0, 0.62), lookat=(0.53, 0.0, 0.05), up=(0, 0, 1), fov=36),
    "wrist": CameraPlace(position=(0.06, 0.0, 0.0), lookat=(0.13, 0.0, 0.4), up=(1, 0, 0), fov=56, link="hand"),
}
_VIDEO = CameraPlace(position=(1.6, -1.3, 0.7), lookat=(0.33, 0.03, 0.32), up=(0, 0, 1), fov=31)  # arm, cubes and box
_VIDEO_SIZE = (448, 448)  # pixels


class Tabletop(ABC):
    """Simulates worlds of one robot and three cubes; subclasses define instructions, success and dense reward."""

    has_success = True
    fps = 10  # control steps per second
    instructions: tuple[str, ...]  # one per colour, in the order of COLOURS

    def __init__(
        self,
        num_envs: Annotated[int, Ge(1)],
        control: Literal["hand", "joint"],
        reward: Literal["sparse", "dense"],
        max_steps: Steps,
        image_size: Annotated[int, Ge(8), Le(4096)],
        backend: Literal["cpu", "gpu"],
        observation: Literal["images", "state"] = "images",  # configs of earlier runs lack it
        announce: Callable[[str], None] | None = None,
    ) -> None:
        """Check the options; the simulator starts at the first `reset`.

        control: "hand" | "joint"; reward: "sparse" | "dense"; max_steps: control steps (0.1 s) until truncation;
        image_size: pixels, square; backend: "cpu" | "gpu"; observation: "images" | "state"; announce: prints.
        """
        _one_of("task.control", control, ("hand", "joint"))
        _one_of("task.reward", reward, ("sparse", "dense"))
        _one_of("task.backend", backend, ("cpu", "gpu"))
        _one_of("task.observation", observation, ("images", "state"))
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs} is too small; type 1 or more")
        self.num_envs, self.max_steps = num_envs, max_steps
        self.control, self.reward, self.backend = control, reward, backend
        self.action_dim = 4 if control == "hand" else 9
        self.image_size = image_size
        self._places = _CAMERAS if observation == "images" else {}
        self.cameras: Mapping[str, tuple[int, int, int]] = dict.fromkeys(self._places, (3, image_size, image_size))
        self.observation = observation
        self.state_dim = self.action_dim + 3 * len(COLOURS) * (observation == "state")
        self._announce = announce or (lambda text: print(text, flush=True))
        self._scene: Any = None
        self._generators = [np.random.default_rng((num_envs, row)) for row in range(num_envs)]
        self._elapsed = torch.zeros(num_envs, dtype=torch.long)
        self._target = torch.zeros(num_envs, self.action_dim)  # the latest action of each world
        self.named = torch.zeros(num_envs, dtype=torch.long)  # which cube the instruction of each world names

    # -- defined by subclasses -----------------------------------------------------------------------------------------

    def add_furniture(self, gs: Any, scene: Any) -> None:  # noqa: B027  (optional)
        """Add fixed bodies before the scene is built."""

    @abstractmethod
    def succeeded(self) -> Tensor:
        """Whether each world has reached its goal, [B] bool."""

    @abstractmethod
    def progress(self) -> Tensor:
        """Return the dense reward [B], which grows from 0 to 1 on the way to the goal."""

    # -- the Task protocol ----------------------------------------------------------------------------------------

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]), with one seed per row or from each row's own stream."""
        if self._scene is None:
            self._build()
        if seeds is not None:
            for row, seed in zip(rows.tolist(), seeds, strict=True):
                self._generators[row] = np.random.default_rng(int(seed))
        generators = [self._generators[row] for row in rows.tolist()]
        layouts = np.stack([_draw_layout(generator) for generator in generators])  # [n, 3, 2]
        named = [int(generator.integers(len(COLOURS))) for generator in generators]
        self.named[rows] = torch.tensor(named)
        self._elapsed[rows] = 0
        self._place(rows, layouts)
        self._target[rows] = self.robot_state()[rows]

    def observe(self) -> Observation:
        """Read all worlds, and draw them where the policy has cameras."""
        return self.observe_rows(torch.arange(self.num_envs))

    def observe_rows(self, rows: Tensor) -> Observation:
        """Read some worlds, int64 [n], and draw them alone."""
        instruction = tuple(self.instructions[int(i)] for i in self.named[rows])
        state = self.robot_state()
        state = state if self.observation == "images" else torch.cat([state, self._cubes_from_named()], 1)
        return Observation(state[rows], render(self._scene, self._cameras, rows), instruction)

    def picture(self, num_worlds: int) -> Tensor:
        """Draw the first worlds for a video, uint8 [num_worlds, 3, H, W], by a camera that no policy uses."""
        return render_first(self._scene, self._video_camera, num_worlds)

    def step(self, action: Tensor) -> Step:
        """Advance all worlds by one control step (0.1 s) of action [B, A]. Raises ValueError for another shape."""
        if action.shape != (self.num_envs, self.action_dim):
            raise ValueError(
                f"the action has shape {tuple(action.shape)} but this task takes {(self.num_envs, self.action_dim)}"
            )
        self._target = action.detach().clone()
        self._robot.control_dofs_position(action if self.control == "joint" else self._hand_joints(action))
        for _ in range(_PHYSICS_STEPS):
            self._scene.step()
        self._elapsed += 1
        success = self.succeeded()
        reward = success.float() if self.reward == "sparse" else self.progress()
        return Step(reward, terminated=success, truncated=~success & (self._elapsed >= self.max_steps), success=success)

    def hold(self) -> Tensor:
        """Return the latest action again; the current state would let the arm sink and release its cube."""
        return self._target.clone()

    def state_dict(self) -> dict[str, Any]:
        """Read all worlds in mid-episode: the state of the simulator, and that of this object."""
        own = {"elapsed": self._elapsed.clone(), "target": self._target.clone(), "named": self.named.clone()}
        generators = [generator.bit_generator.state for generator in self._generators]
        return {"scene": scene_state(self._scene), "generators": generators, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError for the state of another task."""
        self._elapsed, self._target, self.named = own_state(state, self._target.shape, len(COLOURS))
        set_scene_state(self._scene, state["scene"])
        for generator, drawn in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = drawn

    # -- for subclasses and scripts ------------------------------------------------------------------------------------

    def robot_state(self) -> Tensor:
        """Read proprioception in the units of an action: [B, 4] gripper position and opening, or [B, 9] joints."""
        joints: Tensor = self._robot.get_dofs_position().cpu()
        if self.control == "joint":
            return joints.float()
        return torch.cat([self.gripper(), joints[:, 7:].sum(1, keepdim=True)], dim=1).float()

    def gripper(self) -> Tensor:
        """Locate the point between the fingertips [B, 3], metres."""
        position: Tensor = self._hand.get_pos().cpu()
        quaternion: Tensor = self._hand.get_quat().cpu()
        return position + _GRIP_OFFSET * _z_axis(quaternion)

    def cube_positions(self) -> Tensor:
        """Locate the centres of all cubes [B, 3 colours, 3], metres."""
        return torch.stack([cube.get_pos().cpu() for cube in self._cubes], dim=1)

    def action_towards(self, target: Tensor) -> Tensor:
        """Compute the action [B, A] that moves the gripper to target [B, 4] (x, y, z, opening; m)."""
        return target if self.control == "hand" else self._hand_joints(target)

    def named_cube(self) -> Tensor:
        """Locate the centre of the cube that each instruction names [B, 3], metres."""
        return self.cube_positions()[torch.arange(self.num_envs), self.named]

    def _cubes_from_named(self) -> Tensor:
        """Locate the named cube, then the next two colours in cyclic order [B, 9]; no colour has to be encoded."""
        order = (self.named[:, None] + torch.arange(len(COLOURS))) % len(COLOURS)
        return self.cube_positions()[torch.arange(self.num_envs)[:, None], order].flatten(1).float()

    # -- building and control -------------------------------------------------------------------------------------

    def _build(self) -> None:
        kernels = scene_name(type(self).__name__, self.control, self.num_envs == 1, self.backend)
        first = "" if are_compiled(kernels) else f"; this {ESTIMATE}"
        self._announce(f"building {self.num_envs} worlds in Genesis{first}")
        with watched(kernels, self._announce):
            self._build_scene(start_genesis(self.backend))

    def _build_scene(self, gs: Any) -> None:
        scene = make_scene(gs, _PHYSICS_DT)
        scene.add_entity(gs.morphs.Plane(), surface=gs.surfaces.Default(color=(0.55, 0.5, 0.45)))
        stock = Path(gs.utils.get_assets_dir()) / "xml" / "franka_emika_panda"
        self._robot = scene.add_entity(gs.morphs.MJCF(file=str(light_panda(stock))))
        self._cubes = [
            scene.add_entity(
                gs.morphs.Box(size=(CUBE,) * 3, pos=(0.5, 0.15 * (i - 1), REST_HEIGHT)),
                material=gs.materials.Rigid(rho=300.0, friction=1.0),
                surface=gs.surfaces.Default(color=colour),
            )
            for i, colour in enumerate(COLOURS.values())
        ]
        self.add_furniture(gs, scene)
        self._cameras = {n: add_camera(scene, place, (self.image_size,) * 2) for n, place in self._places.items()}
        self._video_camera = add_camera(scene, _VIDEO, _VIDEO_SIZE)
        with drawing():
            scene.build(n_envs=self.num_envs)
        self._scene, self._hand = scene, self._robot.get_link("hand")
        for name, place in self._places.items():
            if place.link is not None:
                attach_camera(self._cameras[name], place, self._robot.get_link(place.link))
        self._robot.set_dofs_kp([4500, 4500, 3500, 3500, 2000, 2000, 2000, 400, 400])
        self._robot.set_dofs_kv([450, 450, 350, 350, 200, 200, 200, 40, 40])
        self._robot.set_dofs_force_range([-87] * 4 + [-12] * 3 + [-60] * 2, [87] * 4 + [12] * 3 + [60] * 2)
        self._find_home()

    def _find_home(self) -> None:
        start = torch.tensor((*_HOME_JOINTS, 0.04, 0.04)).expand(self.num_envs, -1)
        self._robot.set_qpos(start)
        target = torch.tensor((*HOME, MAX_OPENING)).expand(self.num_envs, -1)
        for _ in range(10):
            self._robot.set_qpos(self._hand_joints(target))
        self._home = self._robot.get_qpos()[:1].clone()

    def _place(self, rows: Tensor, layouts: NDArray[np.float64]) -> None:
        """Move the arm home and the cubes to `layouts` [n, 3, 2] (m) in `rows`, all at rest."""
        home = self._home.expand(len(rows), -1)
        self._robot.set_qpos(home, envs_idx=rows, zero_velocity=True)
        self._robot.control_dofs_position(home, envs_idx=rows)  # Genesis does not reset targets
        height = torch.full((len(rows), 1), REST_HEIGHT)
        for i, cube in enumerate(self._cubes):
            cube.set_pos(torch.cat([torch.from_numpy(layouts[:, i]).float(), height], 1), envs_idx=rows)
            cube.set_quat(torch.tensor([[1.0, 0, 0, 0]]).expand(len(rows), -1), envs_idx=rows)
            cube.zero_all_dofs_velocity(envs_idx=rows)

    def _hand_joints(self, target: Tensor) -> Tensor:
        """Compute joint targets [B, 9] that move the gripper, pointing down, to target [B, 4] (x, y, z, opening; m)."""
        position = target[:, :3] + torch.tensor([0.0, 0.0, _GRIP_OFFSET])
        quaternion = torch.tensor(DOWN).expand(self.num_envs, -1)
        # One sample that starts at the current joints: samples from random joints would make the arm jump.
        joints: Tensor = self._robot.inverse_kinematics(
            link=self._hand, pos=position, quat=quaternion, init_qpos=self._robot.get_qpos(), max_samples=1,
            max_solver_iters=10, dofs_idx_local=_ARM, seed=0,
        )  # fmt: skip
        joints[:, _FINGERS] = (target[:, 3:].clamp(0.0, MAX_OPENING) / 2).to(joints)
        return joints


def _draw_layout(generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw three cube centres [3, 2] (m) on the table, at least 0.11 m apart."""
    while True:
        layout = generator.uniform((0.45, -0.20), (0.66, 0.20), size=(len(COLOURS), 2))
        distances = np.linalg.norm(layout[:, None] - layout[None], axis=-1)
        if distances[np.triu_indices(len(COLOURS), 1)].min() >= 0.11:
            return layout


def _z_axis(quaternion: Tensor) -> Tensor:
    """Compute the third column of the rotation matrices of quaternions [B, 4] (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(1)
    return torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], dim=1)


def _one_of(key: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ValueError(f"{key}={found!r} is not supported; type one of {', '.join(choices)}")
