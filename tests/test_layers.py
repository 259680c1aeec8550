"""Who may import whom: read from the import statements themselves, so that no module has to be loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# layer -> what it never imports: a top-level package, or a prefix of our own modules
NEVER = {
    "interfaces": {"dsrl", "hydra", "omegaconf", "tianshou", "lerobot", "genesis", "wandb", "gymnasium"},
    "task": {"dsrl.policy", "dsrl.sac", "tianshou", "lerobot", "hydra", "omegaconf", "wandb"},
    "policy": {"dsrl.task", "dsrl.sac", "tianshou", "genesis", "hydra", "omegaconf", "wandb"},
    "noise": {"dsrl.task", "dsrl.policy", "dsrl.sac", "tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "sac": {"dsrl.task", "dsrl.policy", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "compare": {"dsrl.task", "dsrl.policy", "dsrl.sac", "dsrl.noise", "tianshou", "torch", "hydra", "omegaconf"},
    "offline": {"dsrl.task", "dsrl.policy", "dsrl.sac", "genesis", "hydra", "omegaconf", "wandb"},
    "looks": {"dsrl.task", "dsrl.policy", "dsrl.sac", "tianshou", "hydra", "omegaconf", "lerobot", "genesis"},
    "noise_space": {"dsrl", "tianshou", "hydra", "omegaconf", "lerobot", "genesis"},
    "noise_action_env": {
        "dsrl.task",
        "dsrl.policy",
        "dsrl.sac",
        "tianshou",
        "hydra",
        "omegaconf",
        "lerobot",
        "genesis",
    },
}
EXPERIMENT = {"dsrl.task", "dsrl.policy", "dsrl.sac", "dsrl.noise", "genesis", "lerobot"}
CONFIG = {"hydra", "omegaconf"}  # met by these alone:
MEETS_CONFIG = ("entry", "experiment", "hparams", "saved_runs", "settings")
HEAVY_AT_THE_TOP = {"genesis", "lerobot", "wandb", "tianshou", "matplotlib", "scipy.stats", "av"}


def _modules() -> list[Path]:
    return sorted((ROOT / "dsrl").rglob("*.py"))


def _layer(path: Path) -> str:
    parts = path.relative_to(ROOT / "dsrl").with_suffix("").parts
    return parts[0]


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer that they reach into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _reaches(imported: str, forbidden: set[str]) -> bool:
    return any(imported == name or imported.startswith(name + ".") for name in forbidden)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_only_what_lies_below_it(path: Path) -> None:
    layer = _layer(path)
    forbidden = NEVER.get(layer, EXPERIMENT | (set() if layer in MEETS_CONFIG else CONFIG))
    broken = [name for name in _imports(ast.parse(path.read_text())) if _reaches(name, forbidden)]
    assert not broken, f"{path.relative_to(ROOT)} imports {broken}"


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_the_entry_points_know_hydra_and_the_experiment_only(script: str) -> None:
    text = (ROOT / script).read_text()
    assert {name.partition(".")[0] for name in _imports(ast.parse(text))} == {"os", "hydra", "omegaconf", "dsrl"}
    assert len(text.splitlines()) <= 40


def _loaded_by_every_run(path: Path) -> bool:
    named_by_a_yaml = _layer(path) in ("task", "policy", "sac") or path.parts[-2:] == ("logging", "wandb.py")
    return not named_by_a_yaml and _layer(path) not in ("training", "snapshot", "buffers")


@pytest.mark.parametrize("path", list(filter(_loaded_by_every_run, _modules())), ids=lambda path: path.stem)
def test_what_every_run_loads_imports_nothing_heavy_at_its_top(path: Path) -> None:
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [name for node in top for name in _imports(node) if _reaches(name, HEAVY_AT_THE_TOP)]


def test_tasks_do_not_import_each_others_simulator() -> None:
    tree = ast.parse((ROOT / "dsrl" / "task" / "gym.py").read_text())
    assert not [name for name in _imports(tree) if _reaches(name, {"genesis", "dsrl.task._genesis"})]
