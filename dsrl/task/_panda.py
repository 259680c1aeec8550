"""Simplifies the visual meshes of Genesis's Franka Panda, so that drawing it is fast.

The time of software rendering grows with vertices: the stock model has about 400,000, the simplified one about 15,000,
and its pictures look the same at the sizes that policies use. Physics uses the unchanged collision meshes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_FACES_PER_MESH = 300
_VERSION = "1"  # increase when the written files change


def light_panda(stock: Path) -> Path:
    """Make a simplified copy of `stock` (a folder with panda_non_overlap.xml and assets/), once per machine.

    Returns the path of its MJCF file, in the user's cache folder ($XDG_CACHE_HOME or ~/.cache).
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsrl" / f"panda-{_VERSION}"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=cache.parent))
        _write(stock, unfinished)
        try:
            unfinished.rename(cache)
        except OSError:  # another process has made the same copy first
            shutil.rmtree(unfinished)
    return cache / "panda_non_overlap.xml"


def _write(stock: Path, folder: Path) -> None:
    (folder / "assets").mkdir()
    shutil.copy(stock / "panda_non_overlap.xml", folder)
    for mesh in sorted((stock / "assets").iterdir()):
        if mesh.suffix == ".obj" and "collision" not in mesh.name:
            _simplify(mesh, folder / "assets" / mesh.name)
        else:
            shutil.copy(mesh, folder / "assets")


def _simplify(source: Path, target: Path) -> None:
    """Write `source` with at most _FACES_PER_MESH triangles, welded so that it shades smoothly."""
    import fast_simplification
    import trimesh

    mesh = trimesh.load(source, force="mesh", process=False)
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces)  # without texture seams, which separate vertices
    mesh.merge_vertices()
    if len(mesh.faces) > _FACES_PER_MESH:
        vertices, faces = fast_simplification.simplify(mesh.vertices, mesh.faces, target_count=_FACES_PER_MESH, agg=5.0)
        mesh = trimesh.Trimesh(vertices, faces)
    mesh.export(target, include_texture=False)
