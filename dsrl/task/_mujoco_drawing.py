"""Draws MuJoCo worlds that share one model, off-screen, by one renderer per image size.

MuJoCo's own Renderer takes the OpenGL that MUJOCO_GL named when mujoco was first imported, a display by default; here
it is EGL on Linux, whoever imported mujoco before, unless that variable names another.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor


def choose_egl() -> None:
    """Have MuJoCo, where it is not imported yet, draw by EGL on Linux, unless MUJOCO_GL names another."""
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")


class MujocoDrawing:
    """Renderers that are made when first used, because a context of OpenGL takes a second."""

    def __init__(self) -> None:
        self._renderers: dict[tuple[int, bool], _Renderer] = {}  # by image size, and whether plain

    def draw(self, model: Any, data: Any, camera: str, size: int, *, plain: bool = False) -> Tensor:
        """Draw the world `data` by a camera of its model: uint8 [3, size, size].

        plain: without shadows and reflections, which take three quarters of the time on a CPU.

        Raises ImportError where OpenGL cannot draw without a display.
        """
        key = (size, plain)
        if key not in self._renderers:
            try:
                self._renderers[key] = _Renderer(model, size, plain)
            except Exception as error:  # of PyOpenGL, GLFW, EGL or MuJoCo, none of which share a class
                raise ImportError(
                    f"OpenGL draws nothing without a display ({str(error)[:120]}); type: "
                    "sudo apt-get install libegl1 libgl1-mesa-dri libxrender1"
                ) from error
        return self._renderers[key].draw(model, data, camera)


class _Renderer:
    """A context of OpenGL with the meshes of a model."""

    def __init__(self, model: Any, size: int, plain: bool) -> None:
        import mujoco

        self._context = _opengl()(size, size)
        atexit.register(_free, weakref.ref(self._context))  # runs before the end of the display
        self._context.make_current()
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        self._scene = mujoco.MjvScene(model, maxgeom=10_000)
        if plain:
            for costly in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[costly] = False
        self._option, self._perturbation, self._camera = mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._meshes = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        self._picture = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._meshes)

    def draw(self, model: Any, data: Any, camera: str) -> Tensor:
        import mujoco

        self._camera.fixedcamid = model.camera(camera).id
        self._context.make_current()
        mujoco.mjv_updateScene(
            model, data, self._option, self._perturbation, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        pixels = np.empty((self._picture.height, self._picture.width, 3), dtype=np.uint8)
        mujoco.mjr_render(self._picture, self._scene, self._meshes)
        mujoco.mjr_readPixels(pixels, None, self._picture, self._meshes)
        return torch.from_numpy(pixels[::-1].copy()).permute(2, 0, 1)  # OpenGL's first row is the lowest


def _free(context: weakref.ref[Any]) -> None:
    """Free a context that is still there when Python ends: a later attempt would print an error."""
    there = context()
    if there is not None:
        there.free()


def _opengl() -> Any:
    logging.getLogger("OpenGL.acceleratesupport").setLevel(logging.WARNING)  # tells that it lacks an optional module
    if sys.platform == "linux" and os.environ.get("MUJOCO_GL", "egl") == "egl":
        from mujoco import egl
        from mujoco.egl import GLContext
        from OpenGL import EGL

        if egl.EGL_DISPLAY is not None:  # another renderer of this process may have ended the display that all share
            EGL.eglInitialize(egl.EGL_DISPLAY, None, None)
    else:
        from mujoco.gl_context import GLContext
    return GLContext
