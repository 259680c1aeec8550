"""Starts Genesis once per process and draws every world as a picture of its own; all tasks share one set of options."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from traceback import walk_tb
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsrl.task._genesis_indices import check_indices

_SEED = 0  # Genesis compiles every kernel anew for each other seed; worlds draw from generators of their own


@dataclass(frozen=True)
class CameraPlace:
    """Position and direction of a camera, in metres in the world's frame or, with `link`, in that link's frame."""

    position: tuple[float, float, float]
    lookat: tuple[float, float, float]
    up: tuple[float, float, float]
    fov: float  # vertical field of view, degrees
    link: str | None = None


def start_genesis(backend: str) -> Any:
    """Initialise Genesis and return its module. `backend` is "cpu" or "gpu"; a second call changes nothing."""
    logging.getLogger("OpenGL.acceleratesupport").setLevel(logging.WARNING)  # warns of an optional module
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl" if sys.platform == "linux" else "")
    # Genesis inspects the frame around each of its 1,000 kernels, often one of importlib. Without this entry Python
    # looks for that in all modules, each time anew: 24 s of a processor beside a policy of lerobot.
    inspect.modulesbyfile.setdefault("<frozen importlib._bootstrap>", "importlib._bootstrap")
    with drawing():
        import genesis as gs

    if not gs._initialized:
        # gs.init(seed) also reseeds NumPy and torch, whose streams belong to training.
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
        gs.init(backend={"cpu": gs.cpu, "gpu": gs.gpu}[backend], seed=_SEED, logging_level="error")
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
    return gs


def make_scene(gs: Any, physics_dt: float) -> Any:
    """Create an empty scene with the options that all tasks share, because other options compile other kernels."""
    with drawing():
        return gs.Scene(
            sim_options=gs.options.SimOptions(dt=physics_dt, substeps=1),
            rigid_options=gs.options.RigidOptions(enable_self_collision=False),
            vis_options=gs.options.VisOptions(
                shadow=False,  # GPUs draw shadows, software OpenGL does not: pictures must not depend on the machine
                plane_reflection=False,
                split_envs=True,
                ambient_light=(0.35, 0.35, 0.35),
                background_color=(0.75, 0.8, 0.85),
            ),
            profiling_options=gs.options.ProfilingOptions(show_FPS=False),
            show_viewer=False,
        )


def add_camera(scene: Any, place: CameraPlace, size: tuple[int, int]) -> Any:
    """Add a camera of `size` (width, height); with a link, attach it after the scene is built."""
    pose = {} if place.link else {"pos": place.position, "lookat": place.lookat, "up": place.up}
    near = 0.01 if place.link else 0.05
    return scene.add_camera(res=size, fov=place.fov, near=near, far=10.0, GUI=False, **pose)


def attach_camera(camera: Any, place: CameraPlace, link: Any) -> None:
    """Attach a camera of a built scene to a link at `place`."""
    from genesis.utils.geom import pos_lookat_up_to_T

    camera.attach(link, pos_lookat_up_to_T(*(np.array(v) for v in (place.position, place.lookat, place.up))))


def scene_state(scene: Any) -> dict[str, Any]:
    """Read all that later steps of a built scene depend on, about 100 KB a world: steps, solver -> array -> tensor."""
    state = scene.sim.__getstate__()
    solvers = {name: {key: _tensor(array) for key, array in one.arrays.items()} for name, one in state.solvers.items()}
    return {"steps": _tensor(state.steps), "solvers": solvers}


def set_scene_state(scene: Any, state: Mapping[str, Any]) -> None:
    """Restore `scene_state` bit for bit in a scene that was built alike, in this process or another.

    Raises ValueError for the state of another scene.
    """
    check_indices(state["solvers"], scene_state(scene)["solvers"])
    record = scene.__getstate__()  # a checkpoint contains tensors only; the objects around them are this scene's
    solvers = {name: replace(one, arrays=state["solvers"][name]) for name, one in record.sim.solvers.items()}
    scene.__setstate__(replace(record, sim=replace(record.sim, steps=state["steps"], solvers=solvers)))


def _tensor(array: Any) -> Tensor:
    return torch.as_tensor(array).detach().cpu().clone()


@contextmanager
def drawing() -> Iterator[None]:
    """Turn any error of OpenGL into an ImportError that names the missing system packages."""
    try:
        yield
    except Exception as error:
        if not _comes_from_opengl(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise ImportError(
            f"this machine cannot draw a picture ({reason}); install the system packages of headless rendering: "
            "sudo apt-get install libegl1 libgl1-mesa-dri libxrender1"
        ) from error


def _comes_from_opengl(error: BaseException | None) -> bool:
    if error is None:
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    inside = any(name.startswith(("OpenGL", "genesis.ext.pyrender")) for name in modules)
    return inside or _comes_from_opengl(error.__cause__)


def render(scene: Any, cameras: Mapping[str, Any], rows: Tensor) -> dict[str, Tensor]:
    """Draw the worlds `rows` (int64 [n]) of a built scene with every camera: name -> uint8 [n, 3, H, W]."""
    num_envs = scene.visualizer.context._scene.n_envs
    images = {}
    for name, camera in cameras.items():
        if camera._attached_link is not None:
            camera.move_to_attach()
        # force_render: Genesis caches pictures by simulation time, which a reset does not change.
        with drawing(), _only(scene, camera, rows, num_envs):
            picture = np.asarray(camera.render(rgb=True, force_render=True)[0])
        if num_envs == 1 and picture.ndim == 3:  # Genesis omits the batch dimension for a single world
            picture = picture[None]
        width, height = camera.res
        if picture.shape != (num_envs, height, width, 3):
            raise RuntimeError(
                f"camera {name!r} drew {picture.shape} but {num_envs} worlds need {(num_envs, height, width, 3)}; "
                f"install the pinned version of genesis-world"
            )
        images[name] = torch.from_numpy(picture[rows.numpy()].transpose(0, 3, 1, 2).copy())
    return images


@contextmanager
def _only(scene: Any, camera: Any, rows: Tensor, num_envs: int) -> Iterator[None]:
    """Let Genesis draw nothing but `rows`: its renderer draws the worlds of a camera one after another."""
    if num_envs == 1 or len(rows) == num_envs:
        yield
        return
    target = scene.visualizer.rasterizer._camera_targets[camera.uid]
    draw, wanted, (width, height) = target._forward_pass, set(rows.tolist()), camera.res
    blank = (np.zeros((height, width, 3), np.uint8),)

    def draw_wanted(*args: Any, env_idx: int, **kwargs: Any) -> Any:
        return draw(*args, env_idx=env_idx, **kwargs) if env_idx in wanted else blank

    target._forward_pass = draw_wanted
    try:
        yield
    finally:
        target._forward_pass = draw


def render_first(scene: Any, camera: Any, num_worlds: int) -> Tensor:
    """Draw the first worlds of a built scene with one camera: uint8 [num_worlds, 3, H, W]."""
    return render(scene, {"video": camera}, torch.arange(num_worlds))["video"]
