"""Words of a command that Hydra alone would misread: ~, characters of its grammar, and dashes."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import hydra
import optuna
import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import open_dict
from toys.commands import CONF
from toys.complaints import complaint, composed
from toys.in_process import start

from dsrl.run.config.typed_keys import check_eval, check_train
from dsrl.run.terminal import choices
from dsrl.run.terminal.errors import no_choice, run
from dsrl.run.terminal.typed_words import (
    check_flags,
    check_keys,
    check_sweep,
    flags_last,
    of_hydra,
    unreadable,
    with_home,
)


def test_a_tilde_at_the_start_of_a_value_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    typed = ["policy.path=~/x", "run=~", "~task.reward", "-m", "policy.path=a/~/x", "run=~other/x"]
    assert with_home(typed) == ["policy.path=/home/a b/x", "run=/home/a b", *typed[2:]]


@pytest.mark.parametrize("value", ["a=b", "a(b", "it's", "a#b", "ä/ü", "a~b", 'a"=b'])
def test_the_advice_for_a_value_that_needs_quotes_is_read_as_that_value(value: str) -> None:
    parser = OverridesParser.create()
    with pytest.raises(OverrideParseException) as caught:
        parser.parse_overrides([f"policy.path={value}"])
    advised = shlex.split(unreadable(str(caught.value.override)).rpartition("; type ")[2])
    assert [one.value() for one in parser.parse_overrides(advised)] == [value]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("pendulum", "pendulum is no key=value; type for example task=pendulum"),
        ("task = pendulum", "task = pendulum is no key=value; type key and value without spaces around ="),
        ("seed=0,", "seed=0, ends with a comma; type seed=0"),
        ("plugins=[a", "plugins=[a is no complete list or dictionary; type 'plugins=[…]'"),
        ("décisions=3", "décisions is no key, all of which are plain letters, digits and _ . / @; --help lists them"),
        (
            "run=\udcc3,",
            "run=\udcc3, has characters that this locale cannot show; type PYTHONUTF8=1 before the command",
        ),
        ("task.kwargs={a", "task.kwargs={a is no complete list or dictionary; type 'task.kwargs={…}'"),
    ],
)
def test_a_word_that_is_no_key_and_value_is_named_with_what_works(word: str, sentence: str) -> None:
    with pytest.raises(OverrideParseException):
        OverridesParser.create().parse_overrides([word])
    assert unreadable(word).startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("-m +hydra.sweeper.params.seed=1,2", "+hydra.sweeper.params.seed=1,2 is for files alone; type seed=1,2, also"),
        (
            "hparams=optuna hydra.sweeper.params.sac.tau=interval(0.1,1)",
            "hydra.sweeper.params.sac.tau=interval(0.1,1) is for files alone; type 'sac.tau=interval(0.1,1)', also",
        ),
        ("hydra.sweeper.params={seed:1}", "hydra.sweeper.params={seed:1} is for files alone; type key=value, also"),
        (
            "hparams=optuna hydra/sweeper/sampler=cmaes",
            "hydra/sweeper/sampler=cmaes is not for hparams=optuna, whose options are those of tpe; leave it out",
        ),
    ],
)
def test_what_sweepers_take_in_files_alone_is_named_with_what_works(
    words: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words.split()])
    with pytest.raises(SystemExit, match=f"^error: {re.escape(sentence)}"):
        run(lambda: pytest.fail("must not start"))
    check_sweep(["hparams=optuna", "hydra/sweeper/sampler=tpe", "hydra.sweeper.n_jobs=2"])


def test_flags_of_hydra_pass_and_keys_with_dashes_are_refused() -> None:
    check_flags(["-m", "--multirun", "--help", "--cfg", "job", "--config-dir=x", "--config-dir", "task=a", "--conf=x"])
    with pytest.raises(ValueError, match=r"^--policy.path=a is no option; type policy.path=a, without the dashes$"):
        check_flags(["task=pendulum", "--policy.path=a"])
    with pytest.raises(ValueError, match=r"^--seed is no option; type seed=…, without the dashes$"):
        check_flags(["--seed", "1"])
    check_flags(["-m", "-h", "-r", "-mr", "-c", "job", "-cjob", "-p", "sac", "-i", "-iall", "-sc", "-p=sac", "-c=job"])
    check_flags(["-cp", "x", "-cn", "x", "-cd", "x", "-cp=x", "-cn=x", "-cd=x"])
    for word in ("-seed=1", "-policy=pi0", "-method=na", "-cluster=slurm"):
        with pytest.raises(ValueError, match=f"^{word} is no option; type {word[1:]}, without the dash$"):
            check_flags(["-m", word])
    with pytest.raises(ValueError, match=r"^-x is no option; type key=value, --help lists the keys$"):
        check_flags(["-x"])


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("a=1 -m b=2", {"multirun": True}),
        ("-m a=1 -- b=2", {"multirun": True}),
        ("a=1 --cfg job b=2", {"cfg": "job"}),
        ("a=1 -c job --resolve b=2 -p sac", {"cfg": "job", "resolve": True, "package": "sac"}),
        ("a=1 -cjob b=2", {"cfg": "job"}),
        ("a=1 --pack=sac b=2 --config-dir c=d", {"package": "sac", "config_dir": "c=d"}),
        ("-i a=1 b=2", {"info": "all"}),
        ("a=1 --info plugins b=2", {"info": "plugins"}),
        ("-sc a=1 -cd d -cp p -cn n b=2", {"shell_completion": True, "config_dir": "d", "config_path": "p"}),
        ("a=1 b=2", {}),
    ],
)
def test_flags_may_stand_between_keys(words: str, flags: dict[str, str]) -> None:
    check_flags(words.split())
    found = vars(get_args_parser().parse_args(flags_last(words.split())))
    assert found.pop("overrides") == ["a=1", "b=2"]
    assert {name: found[name] for name in flags} == flags


@pytest.mark.parametrize("word", ["=3", "+=3", "~", "@sac=3"])
def test_a_value_without_a_key_is_no_choice_of_a_group(word: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(word)} has no key; type for example seed=3"):
        check_keys(["-m", "task=pendulum", "", word])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["=3"], "=3 has no key; type for example seed=3, --help lists the keys"),
        (["--task=pendulum"], "--task=pendulum is no option; type task=pendulum, without the dashes"),
        (["policy.path=#"], "policy.path=# has characters that need quotes of their own; type 'policy.path=\"#\"'"),
    ],
)
def test_train_ends_with_that_sentence_alone(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("train.py", *words, cwd=tmp_path) == f"error: {sentence}"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "In 'experiment/mine': Could not override 'task@experiment.task'. Did you mean to override task?",
            "experiment/mine overrides task within experiment, where none is; write `# @package _global_` as the first "
            "line of its file",
        ),
        (
            "BasicSweeper does not support sweep type : INTERVAL_SWEEP",
            "an interval is for a search alone; type hparams=optuna too, or several values as key=a,b",
        ),
        (
            "Cannot find primary config 'nothere'. Check that it's in your config search path.",
            "there is no config nothere; leave out -cn (--config-name) and -cp (--config-path)",
        ),
    ],
)
def test_a_message_of_hydra_becomes_what_to_type(message: str, sentence: str) -> None:
    assert of_hydra(message) == sentence


@pytest.mark.parametrize(("composed_by", "other"), [("train.py", "eval"), ("eval.py", "train")])
def test_the_config_of_the_other_program_is_refused_by_its_name(composed_by: str, other: str) -> None:
    own = composed_by.removesuffix(".py")
    cfg = composed()
    with open_dict(cfg):
        cfg.hydra.job.config_name = other
    HydraConfig.instance().set_config(cfg)
    sentence = f"error: -cn {other} is the config of {other}.py; leave it out for {composed_by}, or type {other}.py"
    with pytest.raises(SystemExit, match=f"^{re.escape(sentence)}$"):
        {"train": check_train, "eval": check_eval}[own](cfg)


GROUPS = ("logging", "sac", "noise", "policy", "task", "cluster", "hparams", "method", "suite", "experiment")


@pytest.mark.parametrize("word", [*(f"{group}=null" for group in GROUPS), "sac=1", "+noise=null", "logging=csv,null"])
def test_a_choice_that_is_no_name_is_refused_with_those_that_are(word: str) -> None:
    group = word.partition("=")[0].lstrip("+")
    text = f"{group}={word.rpartition('=')[2].rpartition(',')[2]}"
    offered = ", ".join(choices.names(group))
    assert no_choice(["-m", "task=pendulum", "seed=1", word]) == (
        f"{text} is not known; choose one of {offered}, or leave it out"
    )


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_a_null_choice_ends_with_that_sentence_alone(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending = start(script, "logging=null", "--cfg", "job", "eval_episodes=9", cwd=tmp_path)
    offered = ", ".join(choices.names("logging"))
    assert ending == f"error: logging=null is not known; choose one of {offered}, or leave it out"
    assert capsys.readouterr() == ("", "")


def test_a_search_without_a_finished_trial_ends_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "hparams=optuna"])

    def searched() -> None:
        optuna.create_study(storage="sqlite://").best_trial  # noqa: B018

    with pytest.raises(SystemExit, match=r"^error: no trial of this search has finished; the lines above say why$"):
        run(searched)


@pytest.mark.parametrize("flags", [["--resolve"], ["--cfg", "job", "--multirun"]])
def test_flags_that_hydra_refuses_end_with_one_sentence(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["eval.py", *flags])
    with pytest.raises(SystemExit, match=f"^error: .*{flags[-1]}.*; (type|leave) "):
        run(hydra.main(version_base="1.3", config_path=str(CONF), config_name="eval")(lambda cfg: None))


def test_a_working_directory_that_was_removed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match=r"^error: the working directory was removed; cd to another and type the"):
        run(lambda: pytest.fail("must not start"))


def test_a_dictionary_in_place_of_a_list_is_answered_with_a_list() -> None:
    assert complaint("plugins={}") == "error: plugins is a list; type plugins=[…], or leave it out"


def test_eval_finds_a_run_below_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"error: run={tmp_path}/nowhere " in str(start("eval.py", "run=~/nowhere", cwd=tmp_path))
