"""Puts conf/ and scripts/ into the package when a wheel is built; a clone has them beside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

INSIDE = ("conf", "scripts")


class BuildWithConfigs(build_py):
    """Builds the package with its configs and scripts: at the top level they would collide with those of others."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            for name in INSIDE:
                inside = Path(self.build_lib) / "dsrl" / name
                shutil.copytree(name, inside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.png"))


setup(cmdclass={"build_py": BuildWithConfigs})
