"""Renders the cameras of LIBERO once per decision instead of in every control step.

    robosuite, in the first 2 ms of each control step   --copies the simulation's state--> DeferredCameras
    Task.observe(), once per decision                   --draws that state--> the image that robosuite would have drawn

Drawing two images takes some 15 times as long as simulating a control step, where no GPU draws them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class DeferredCameras:
    """Draws the cameras of one of lerobot's LIBERO environments when it is looked at."""

    def __init__(self, env: Any) -> None:
        """Replace the drawing of `env`, whose simulation has been made."""
        self._env = env
        self._inside: Any = env._env.env  # robosuite's environment
        self._make_sim = self._inside._initialize_sim
        self._inside._initialize_sim = self._initialize_sim  # called by hard resets
        self._defer()

    def make_current(self) -> None:
        """Make the OpenGL context of this world the current one of the process.

        robosuite does not: a hard reset of one world would free the textures of another.
        """
        self._sim._render_context_offscreen.gl_ctx.make_current()

    def look(self) -> dict[str, NDArray[np.uint8]]:
        """Return the images [H, W, 3] of the latest observation, by lerobot's names of the cameras."""
        size = {"width": self._env.observation_width, "height": self._env.observation_height}
        context, colours = self._sim._render_context_offscreen, self._colours()
        self.make_current()
        context.data = SimpleNamespace(_data=self._state)
        self._paint(self._seen)
        try:
            return {
                name: self._draw(**size, camera_name=camera.removesuffix("_image"))[:: self._row_order]
                for camera, name in self._env.camera_name_mapping.items()
                if camera in self._env.camera_name
            }
        finally:
            context.data = self._sim.data
            self._paint(colours)

    def _initialize_sim(self, *arguments: Any, **options: Any) -> None:
        self._make_sim(*arguments, **options)
        self._defer()

    def _defer(self) -> None:
        import mujoco
        from robosuite import macros
        from robosuite.utils.mjcf_utils import IMAGE_CONVENTION_MAPPING

        self._row_order: int = IMAGE_CONVENTION_MAPPING[macros.IMAGE_CONVENTION]
        self._sim = self._inside.sim
        self._draw, self._sim.render = self._sim.render, self._store
        self._state = mujoco.MjData(self._sim.model._model)
        self._seen = self._colours()

    def _store(self, width: int, height: int, **_: Any) -> NDArray[np.uint8]:
        """Copy what a picture shows; called in place of the simulation's `render`, returns a black image."""
        import mujoco

        mujoco.mj_copyData(self._state, self._sim.model._model, self._sim.data._data)
        self._seen = self._colours()
        return np.zeros((height, width, 3), np.uint8)

    def _colours(self) -> tuple[NDArray[np.float32], ...]:
        """Return colours of bodies and marks, by which a stove shows that it is on."""
        model = self._sim.model
        return model.geom_rgba.copy(), model.site_rgba.copy()

    def _paint(self, colours: tuple[NDArray[np.float32], ...]) -> None:
        model = self._sim.model
        model.geom_rgba[:], model.site_rgba[:] = colours
