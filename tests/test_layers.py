"""Who may import whom: read from the import statements themselves, so that no module has to be loaded.

Imports inside functions and under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"dsrl.interfaces", "dsrl.edits", "dsrl.rules", "dsrl.noise_action_env"}
FOREIGN = {"dsrl.foreign_json", "dsrl.schema"}  # what somebody else wrote
CHOICES = ("task", "policy", "noise", "sac", "logging")

# room -> the modules of ours that it may import besides its own
MAY = {
    "dsrl.interfaces": set(),
    "dsrl.available_memory": set(),
    "dsrl.task": {"dsrl.interfaces", "dsrl.available_memory"},
    "dsrl.foreign_json": set(),
    "dsrl.schema": {"dsrl.foreign_json"},
    "dsrl.cuda_graph": set(),
    "dsrl.devices": set(),
    "dsrl.policy": {"dsrl.interfaces", "dsrl.cuda_graph", "dsrl.devices", *FOREIGN},
    "dsrl.noise": {"dsrl.interfaces"},
    "dsrl.logging": {"dsrl.interfaces"},
    "dsrl.sac": {"dsrl.interfaces", "dsrl.edits", "dsrl.cuda_graph"},
    "dsrl.history": {"dsrl.interfaces", "dsrl.rules"},
    "dsrl.edits": {"dsrl.interfaces"},
    "dsrl.rules": {"dsrl.interfaces"},
    "dsrl.noise_action_env": {
        *("dsrl.interfaces", "dsrl.history", "dsrl.edits", "dsrl.rules", "dsrl.noise.space"),
    },
    "dsrl.evaluation": PAGES,
    "dsrl.training": {*PAGES, *FOREIGN, "dsrl.available_memory", "dsrl.history", "dsrl.evaluation"},
    "dsrl.run": {
        *(*PAGES, *FOREIGN, "dsrl.devices", "dsrl.available_memory", "dsrl.evaluation", "dsrl.training")
    },  # and MAY_EXACTLY
    "hydra_plugins": {
        *("dsrl.run.terminal.installed", "dsrl.run.terminal.errors"),
        *("dsrl.run.saved.files", "dsrl.run.saved.lock", "dsrl.run.saved.provenance"),
    },
}
# room -> modules of ours that it may import, but not those inside them
MAY_EXACTLY = {"dsrl.run": {"dsrl.logging", "dsrl"}}  # dsrl: its version
# room -> libraries that it never imports
NEVER = {
    "dsrl.interfaces": {"hydra", "omegaconf", "tianshou", "lerobot", "genesis", "wandb", "gymnasium", "numpy"},
    "dsrl.available_memory": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb", "numpy", "torch"},
    "dsrl.foreign_json": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb", "numpy", "torch"},
    "dsrl.schema": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb", "gymnasium", "numpy", "torch"},
    "dsrl.cuda_graph": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb", "gymnasium", "numpy"},
    "dsrl.devices": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb", "gymnasium", "numpy"},
    "dsrl.task": {"tianshou", "lerobot", "hydra", "omegaconf", "wandb"},  # and RUNS_LEROBOT
    "dsrl.policy": {"tianshou", "genesis", "hydra", "omegaconf", "wandb"},
    "dsrl.noise": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.logging": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf"},
    "dsrl.sac": {"genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.history": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.edits": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.rules": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.noise_action_env": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.evaluation": {"tianshou", "genesis", "lerobot", "hydra", "omegaconf", "wandb"},
    "dsrl.training": {"genesis", "hydra", "omegaconf", "wandb"},
    "dsrl.run": {"genesis", "lerobot", "tianshou", "wandb"},
    "hydra_plugins": {"tianshou", "genesis", "lerobot", "wandb", "torch"},
}
# the rooms of dsrl.run, each of which imports those before it; its other files import them all
WITHIN_RUN = ("terminal", "saved", "config", "components")
OPTIONAL = {"metaworld", "gym_pusht", "gym_aloha", "libero", "genesis", "lerobot"}  # slow, or not installed everywhere
RUNS_LEROBOT = {"lerobot", "_lerobot_world", "_libero_package"}  # the tasks that are lerobot's environments
MEETS_CONFIG = {"build", "evaluate", "train", "settings", "errors", "hydra_callbacks", "typed_keys", "commands"}
MEETS_CONFIG |= {"auto_noise", "swept_values"}
HEAVY_AT_THE_TOP = {"genesis", "lerobot", "wandb", "tianshou", "matplotlib", "scipy.stats", "av"}


def _modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package by that of its folder."""
    paths = [*(ROOT / "dsrl").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]
    names = {path: path.relative_to(ROOT).with_suffix("").parts for path in sorted(paths)}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


MODULES = _modules()


def _room(module: str) -> str:
    if module.startswith("hydra_plugins"):
        return "hydra_plugins"
    return ".".join(module.split(".")[:2])


def _imports(path: Path) -> Iterator[str]:
    """The modules of ours, and the names of other packages, that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room that they reach into"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def _reaches(imported: str, names: set[str]) -> bool:
    return any(imported == name or imported.startswith(name + ".") for name in names)


@pytest.mark.parametrize("module", [name for name in MODULES if _room(name) in MAY])
def test_a_room_imports_only_the_rooms_below_it(module: str) -> None:
    room = _room(module)
    allowed = {room, *MAY[room]}
    ours = [name for name in _imports(MODULES[module]) if name.split(".")[0] in ("dsrl", "hydra_plugins", "scripts")]
    others = [name for name in ours if name not in MAY_EXACTLY.get(room, ())]
    broken = [name for name in others if not _reaches(name, allowed) and not name.startswith("hydra_plugins.hydra_")]
    assert not broken, f"{module} imports {broken}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("dsrl.run.")])
def test_a_room_of_run_imports_only_those_before_it(module: str) -> None:
    def level(name: str) -> int:
        room = name.split(".")[2]
        return WITHIN_RUN.index(room) if room in WITHIN_RUN else len(WITHIN_RUN)

    above = [name for name in _imports(MODULES[module]) if name.startswith("dsrl.run.") and level(name) > level(module)]
    assert not above, f"{module} imports {above}"


@pytest.mark.parametrize("module", [name for name in MODULES if _room(name) == "dsrl.task"])
def test_a_task_imports_what_may_be_missing_where_it_is_used(module: str) -> None:
    at_once = [
        node for node in ast.parse(MODULES[module].read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {alias.name for node in at_once for alias in node.names if isinstance(node, ast.Import)}
    names |= {str(node.module) for node in at_once if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in names} & OPTIONAL


@pytest.mark.parametrize("module", [name for name in MODULES if _room(name) in NEVER])
def test_a_room_imports_only_its_own_libraries(module: str) -> None:
    room, leaf = _room(module), module.rpartition(".")[2]
    never = set(NEVER[room])
    if room == "dsrl.run" and leaf not in MEETS_CONFIG:
        never |= {"hydra", "omegaconf"}
    if room == "dsrl.task" and leaf in RUNS_LEROBOT:
        never -= {"lerobot"}
    if room == "dsrl.logging" and leaf == "wandb":
        never -= {"wandb"}
    broken = [name for name in _imports(MODULES[module]) if _reaches(name, never)]
    assert not broken, f"{module} imports {broken}"


def test_the_page_on_the_architecture_has_every_room_and_what_it_may_import() -> None:
    lines = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    names = [[re.findall("`([a-z_.]+)`", cell) for cell in row] for row in rows]
    documented = {room: set(imported) for rooms, imported in names for room in rooms}
    for room, allowed in MAY.items():
        missing = {name.removeprefix("dsrl.") for name in allowed} - documented[room.removeprefix("dsrl.")]
        assert not missing, f"the row of {room} lacks {missing}"
    pages = {name for name in MODULES if name.count(".") == 1 and MODULES[name].name != "__init__.py"}
    assert not [name for name in pages if f"  {name[5:]}.py " not in "\n".join(lines) and name.startswith("dsrl.")]


def test_every_module_of_the_package_has_a_room() -> None:
    homeless = [name for name in MODULES if _room(name) not in MAY and name not in ("dsrl", "hydra_plugins")]
    assert not homeless


def test_no_files_import_each_other_in_a_circle() -> None:
    arrows = {name: {one for one in _imports(path) if one in MODULES} for name, path in MODULES.items()}
    while leaves := [name for name, targets in arrows.items() if not targets]:
        for leaf in leaves:
            del arrows[leaf]
        arrows = {name: targets - set(leaves) for name, targets in arrows.items()}
    assert not arrows, f"in a circle, or above one: {arrows}"


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_the_entry_points_know_hydra_and_one_room_only(script: str) -> None:
    path = ROOT / script
    assert {name.partition(".")[0] for name in _imports(path)} == {"hydra", "omegaconf", "dsrl"}
    assert all(_reaches(name, {"dsrl.run"}) for name in _imports(path) if name.startswith("dsrl"))
    assert len(path.read_text().splitlines()) <= 40


def _loaded_by_every_run(module: str) -> bool:
    named_by_a_yaml = _room(module) in ("dsrl.task", "dsrl.policy", "dsrl.sac") or module == "dsrl.logging.wandb"
    return module.startswith("dsrl") and not named_by_a_yaml and _room(module) != "dsrl.training"


@pytest.mark.parametrize("module", list(filter(_loaded_by_every_run, MODULES)))
def test_files_that_every_run_loads_import_nothing_heavy_at_their_top(module: str) -> None:
    top = [
        node for node in ast.parse(MODULES[module].read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = [alias.name if isinstance(node, ast.Import) else str(node.module) for node in top for alias in node.names]
    assert not [name for name in names if _reaches(name, HEAVY_AT_THE_TOP)]


def test_tasks_do_not_import_each_others_simulator() -> None:
    assert not [
        name for name in _imports(MODULES["dsrl.task.gym"]) if _reaches(name, {"genesis", "dsrl.task._genesis"})
    ]


def test_files_and_functions_are_short() -> None:
    long = [name for name, path in MODULES.items() if len(path.read_text().splitlines()) > 300]
    assert not long, f"longer than 300 lines: {long}"
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 40 or node.name.startswith("build_"), f"{name}.{node.name} has {length} lines"
