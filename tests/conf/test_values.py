"""Every value of every YAML has a type and a range, and a wrong one is refused by name before anything heavy loads."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen
from omegaconf import open_dict
from toys.commands import ROOT, type_command
from toys.complaints import NEEDS, complaint, complaint_about, composed
from toys.wrong import wrong

from dsrl.run.config import signatures
from dsrl.run.config.settings import ADDED_LATER, CHECKPOINT_TYPES, GROUPS, TYPES, settings_of
from dsrl.run.terminal import choices
from dsrl.run.terminal.ranges import check, fits

OPEN = {"logging.csv.folder", "logging.tensorboard.folder", "logging.wandb.folder"}  # Hydra's run folder


def _options() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield every key that can be typed, the choices that it needs, and its declared type."""
    for key, declared in {**TYPES, **CHECKPOINT_TYPES}.items():
        yield key, (), declared
    seen: list[tuple[str, Any]] = []
    for group in GROUPS:
        for choice in choices.names(group):
            needs = (f"{group}={choice}", *NEEDS.get(choice, ()))
            node = choices.options(group, choice)
            components = {f"{group}.{name}": node[name] for name in node} if group == "logging" else {group: node}
            for where, component in components.items():
                for name, option in signatures.options(component["_target_"]).items():
                    key = f"{where}.{name}"
                    if name in component and key not in OPEN and (key, option.type()) not in seen:
                        seen.append((key, option.type()))
                        yield key, needs, option.type()


WRONG = [(key, needs, text) for key, needs, declared in _options() for text in wrong(declared)]
BY_REFERENCE = [(key, (), text) for key in ("gamma", "reward_scale", "learning_rate") for text in ("-1", "nan", "abc")]
BY_REFERENCE += [("critic_warmup_updates", (), text) for text in ("-1", "1.5", "true", "abc")]
BY_REFERENCE += [("draws", (), text) for text in ("pink", "1", "true")]


def test_there_are_many_wrong_inputs() -> None:
    assert len(WRONG) >= 300


@pytest.mark.parametrize(
    ("key", "needs", "text"), WRONG + BY_REFERENCE, ids=lambda part: " ".join(part) if isinstance(part, tuple) else part
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(key: str, needs: tuple[str, ...], text: str) -> None:
    message = complaint_about(f"{key}={text}", *needs)
    assert message is not None
    assert message.startswith(f"error: {key}=")
    assert " must be " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["sac.gamma=1.5"], "sac.gamma=1.5 must be between 0 and 1"),
        (["gamma=1.5"], "gamma=1.5 must be between 0 and 1"),
        (["task=pendulum", "gamma=-1"], "gamma=-1 must be between 0 and 1"),
        (["sac.tau=0"], "sac.tau=0 must be above 0 and at most 1"),
        (["sac.hidden=wide"], "sac.hidden=wide must be a whole number between 1 and 65536"),
        (["sac.hidden=64.5"], "sac.hidden=64.5 must be a whole number between 1 and 65536"),
        (["sac.alpha=high"], "sac.alpha=high must be a number between 1e-09 and 1000000000, or auto"),
        (["sac.alpha=0"], "sac.alpha=0 must be between 1e-09 and 1000000000"),
        (["reward_scale=1e38"], "reward_scale=1e+38 must be between 1e-09 and 1000000000"),
        (["noise=full", "noise.magnitude=1e-46"], "noise.magnitude=1e-46 must be between 1e-06 and 1000000"),
        (["sac.target_entropy=nan"], "sac.target_entropy=nan must be a number, or auto"),
        (["sac.activation=Relu"], "sac.activation=Relu must be ReLU, Tanh, SiLU, GELU or ELU"),
        (["batch_size=true"], "batch_size=true must be a whole number between 1 and 1000000"),
        (["decisions='\"10\"'"], 'decisions="10" must be a whole number of at least 0'),
        (["threads=0"], "threads=0 must be between 1 and 4096"),
        (["threads=many"], "threads=many must be a whole number between 1 and 4096, or null"),
        (["task.image_size=abc"], "task.image_size=abc must be a whole number between 8 and 4096"),
        (["task.num_envs=8"], "task.num_envs=8 must equal num_envs=16; type num_envs=8"),
        (["num_envs=0"], "num_envs=0 must be between 1 and 100000"),
        (["seed=-1"], "seed=-1 must be between 0 and 4294967295"),
        (["policy.device=tpu"], "policy.device=tpu must be auto, cpu, cuda or cuda:<n>"),
        (["policy.path=7"], "policy.path=7 must be text; in quotes it is: 'policy.path=\"7\"'"),
        (["policy.num_steps=100000"], "policy.num_steps=100000 must be between 1 and 1000"),
        (
            ["task=hopper", "policy.num_steps=many"],
            "policy.num_steps=many must be a whole number between 1 and 1000, or",
        ),
        (["policy=lerobot", "policy.path=x", "policy.num_steps=1001"], "policy.num_steps=1001 must be between 1 and"),
        (["policy.camera_map=front"], "policy.camera_map=front must be {name: text}, or null"),
        (["logging=wandb", "logging.wandb.mode=maybe"], "logging.wandb.mode=maybe must be online, offline or disabled"),
        (["sac=dsrl_na", "offline_share=2"], "offline_share=2 must be between 0 and 1"),
        (["checkpoint_minutes=-1"], "checkpoint_minutes=-1 must be at least 0"),
        (["stop_on_collapse=1"], "stop_on_collapse=1 must be true or false"),
        (["decisions=0"], "decisions=0 must be at least 1"),
        (["decisions=100"], "warmup_decisions=384 leaves nothing of decisions=100"),
        (
            ["num_envs=4", "decisions=120", "warmup_decisions=119"],
            "warmup_decisions=119 leaves nothing of decisions=120 in rounds of num_envs=4 decisions; type a larger",
        ),
        (["utd=1e-12"], "utd=1e-12 takes no gradient step in the 5616 decisions after warm-up; type a larger utd"),
        (["warmup_decisions=0"], "warmup_decisions=0 leaves no play by which features and rewards are scaled; type "),
        (["resume=nope"], "resume=nope does not exist"),
    ],
)
def test_the_sentence_says_what_would_work(overrides: list[str], sentence: str) -> None:
    message = complaint(*overrides)
    assert message is not None
    assert message.removeprefix("error: ").startswith(sentence)


def test_every_choice_of_every_group_is_accepted_as_it_stands() -> None:
    for group in (*GROUPS, "method"):
        for choice in choices.names(group):
            fitting = {"diffusion_mlp": ("task=hopper",), "identity": ("task=pendulum",)}.get(choice, ())
            assert complaint(f"{group}={choice}", *NEEDS.get(choice, ()), *fitting) is None, f"{group}={choice}"


def test_what_the_config_of_an_earlier_run_lacks_means_the_values_of_train_yaml() -> None:
    cfg = composed("task=pendulum")
    whole = settings_of(cfg)
    defaults = composed("task=simple_pick")
    with open_dict(cfg):
        for name in ADDED_LATER:
            del cfg[name]
    assert settings_of(cfg) == replace(whole, **{name: defaults[name] for name in ADDED_LATER})
    with open_dict(cfg):
        del cfg["seed"]
    with pytest.raises(ValueError, match=r"the config lacks seed; conf/train\.yaml says what it means"):
        settings_of(cfg)


def test_every_option_of_every_component_has_a_type_that_can_be_worded() -> None:
    for key, _, declared in _options():
        with pytest.raises(ValueError, match=re.escape(key)):
            check(key, {"no": {"value": object()}} if "Mapping" not in str(declared) else 3, declared)


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (1, float, True),
        (True, float, False),
        (True, int, False),
        (1.0, int, False),
        (float("inf"), float, False),
        (10**400, float, False),
        (2**20_000, float | None, False),
        (2**20_000, int, True),
        (" ", str, False),
        ("cuda:3", Literal["cuda:<n>"], True),
        ("cuda:x", Literal["cuda:<n>"], False),
        ("cuda:00", Literal["cuda:<n>"], False),
        ([1, 2], list[Annotated[int, Ge(0)]], True),
        ([1, -2], list[Annotated[int, Ge(0)]], False),
        (None, int | None, True),
        (2, Literal[2, 4], True),
        (3, Literal[2, 4], False),
        (3, Literal["auto", 3], True),
        (0.5, Annotated[float, Gt(0), Lt(1)], True),
        (1.0, Annotated[float, Gt(0), Lt(1)], False),
        (2, Annotated[int, Interval(ge=1, lt=2)], False),
    ],
    ids=lambda value: "large" if isinstance(value, int) and value > 10**9 else None,
)
def test_what_fits_a_declared_type(value: Any, declared: Any, expected: bool) -> None:
    assert fits(value, declared) is expected


@pytest.mark.parametrize(
    ("value", "declared", "sentence"),
    [
        ("", str, "k= must be text, and not empty"),
        (3, Literal["auto", 4], "k=3 must be auto or 4"),
        (2, Annotated[int, Interval(ge=1, lt=2)], "k=2 must be at least 1 and below 2"),
        ({"a": 3}, dict[str, str], "k={'a': 3} must be {name: text}"),
        (["a", "3"], str, 'k=[a,"3"] must be text; in quotes it is: \'k="[a,\\"3\\"]"\''),
        (
            "a",
            Annotated[str, MinLen(2)],
            "MinLen(min_length=2) of a declared type is not checked here; declare Ge, Gt, Le, Lt or Interval",
        ),
    ],
)
def test_a_type_that_somebody_declared_is_worded(value: Any, declared: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        check("k", value, declared)


def test_a_number_that_python_refuses_to_write_in_decimals_is_worded() -> None:
    with pytest.raises(ValueError, match=r"^seed=0x10+… must be at most 9$"):
        check("seed", 2**20_000, Annotated[int, Le(9)])


@pytest.mark.parametrize(
    "command",
    [
        ("train.py", "sac.gamma=1.5"),
        ("train.py", "task.image_size=abc"),
        ("train.py", "sac=dsrl_pi0", "gamma=0.9"),
        ("train.py", "policy.device=tpu"),
        ("eval.py", "run=nowhere"),
        ("eval.py", "run=nowhere", "eval_episodes=0"),
    ],
    ids=" ".join,
)
def test_the_command_line_refuses_within_three_seconds_and_loads_nothing_heavy(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = type_command(*command, cwd=tmp_path, python=("-X", "importtime"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3  # other tests share the cores
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("import time: ")]
    assert line.startswith("error: ")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in loaded
    assert not loaded & {"torch", "genesis", "lerobot", "tianshou", "wandb", "matplotlib"}


def test_types_are_read_without_importing_a_component() -> None:
    code = (
        "import sys; from dsrl.run.config import signatures; "
        "print(signatures.options('dsrl.sac.dsrl_sac.build_dsrl_sac')['gamma'].type()); "
        "print('torch' in sys.modules, 'dsrl.sac' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["typing.Annotated[float, Ge(ge=0), Le(le=1)]", "False False"]


def package_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> str:
    """Write a package whose module sac.mine has that source; return the target of its function `build`."""
    (tmp_path / name / "sac").mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "sac" / "mine.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{name}.sac.mine.build"


def test_keys_of_an_unpacked_typed_dict_are_options_and_those_of_its_bases_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from dsrl.sac._options import NAOptions, Share\n"
        "class Mine(NAOptions):\n    boldness: Share\n"
        "def build(space: str, *, steps: int = 3, **options: Unpack[Mine]): ...\n"
    )
    found = signatures.options(package_with(tmp_path, monkeypatch, "unpacks_options", source))
    own = signatures.options("dsrl.sac.dsrl_na.build_dsrl_na")
    assert found["boldness"].type() == Annotated[float, Gt(0), Le(1)]
    assert found["boldness"].required
    assert not found["steps"].required
    shared = [name for name in own if name in found]
    assert shared == [name for name in found if name not in ("space", "steps", "boldness")]
    assert {"hidden", "n_step", "base_draws"} <= set(shared)
    assert all(found[name].type() == own[name].type() for name in shared)


def test_options_unpacked_from_another_package_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from elsewhere import Theirs\ndef build(**options: Unpack[Theirs]): ...\n"
    target = package_with(tmp_path, monkeypatch, "unpacks_elsewhere", source)
    with pytest.raises(ValueError, match=r"unpacks options from Theirs; define it as a TypedDict in a file of the"):
        signatures.options(target)
