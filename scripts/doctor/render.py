"""Renders one frame without a display, by OpenGL 4.1 on the first EGL device that works, as Genesis does.

python -m scripts.doctor.render prints the name of the renderer. Raises where there is none.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

SIZE = 8  # pixels
EGL_PLATFORM_DEVICE_EXT = 0x313F


def main() -> None:
    """Clear a frame to a colour, read it back, and print the renderer's name."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.environ.pop("DISPLAY", None)
    _make_context()
    from OpenGL import GL

    frame, colours = GL.glGenFramebuffers(1), GL.glGenRenderbuffers(1)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
    GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, colours)
    GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8, SIZE, SIZE)
    GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, colours)
    GL.glClearColor(1.0, 0.0, 1.0, 1.0)
    GL.glClear(GL.GL_COLOR_BUFFER_BIT)
    pixels = GL.glReadPixels(0, 0, SIZE, SIZE, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
    if bytes(pixels) != bytes([255, 0, 255]) * SIZE * SIZE:
        raise RuntimeError("the rendered frame has the wrong colour")
    import pyglet.libs.x11.xrender  # noqa: F401  # which Genesis loads where there is no display, too

    print(GL.glGetString(GL.GL_RENDERER).decode())


def _make_context() -> None:
    """Make an OpenGL context of the first EGL device that has one current."""
    from OpenGL import EGL, error

    reasons = []
    for display in _displays(EGL):
        try:
            _make_current(EGL, display)
            return
        except (error.GLError, RuntimeError) as reason:
            reasons.append(str(getattr(reason, "err", reason)))  # the text of a GLError names every argument
    raise RuntimeError(f"no EGL device gives an OpenGL 4.1 context: {reasons[0] if reasons else 'there is none'}")


def _displays(egl: Any) -> list[Any]:
    """Return the displays of all EGL devices; the default display without the extension that lists them."""
    count, devices = egl.EGLint(), (ctypes.c_void_p * 16)()
    query = _function(egl, b"eglQueryDevicesEXT", egl.EGLBoolean)
    get_display = _function(egl, b"eglGetPlatformDisplayEXT", egl.EGLDisplay)
    if query is None or get_display is None or not query(len(devices), devices, ctypes.byref(count)):
        return [egl.eglGetDisplay(egl.EGL_DEFAULT_DISPLAY)]
    found = [ctypes.c_void_p(device) for device in devices[: count.value]]
    return [get_display(EGL_PLATFORM_DEVICE_EXT, device, None) for device in found]


def _function(egl: Any, name: bytes, result: Any) -> Any:
    address = egl.eglGetProcAddress(name)
    return ctypes.CFUNCTYPE(result)(address) if address else None


def _make_current(egl: Any, display: Any) -> None:
    wanted = [egl.EGL_SURFACE_TYPE, egl.EGL_PBUFFER_BIT, egl.EGL_RENDERABLE_TYPE, egl.EGL_OPENGL_BIT, egl.EGL_NONE]
    version = [egl.EGL_CONTEXT_MAJOR_VERSION, 4, egl.EGL_CONTEXT_MINOR_VERSION, 1, egl.EGL_NONE]
    configs, count = (egl.EGLConfig * 1)(), ctypes.c_long()
    if not egl.eglInitialize(display, ctypes.c_long(), ctypes.c_long()):
        raise RuntimeError("eglInitialize failed")
    if not egl.eglChooseConfig(display, (egl.EGLint * 5)(*wanted), configs, 1, count) or not count.value:
        raise RuntimeError("no EGL config for OpenGL")
    egl.eglBindAPI(egl.EGL_OPENGL_API)
    context = egl.eglCreateContext(display, configs[0], egl.EGL_NO_CONTEXT, (egl.EGLint * 5)(*version))
    if not egl.eglMakeCurrent(display, egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, context):
        raise RuntimeError("eglMakeCurrent failed")


if __name__ == "__main__":
    main()
