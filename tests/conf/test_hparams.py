"""A search by Optuna, by the command that a person types: it maximises validations, and can be continued."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from toys.commands import SHORT_PENDULUM
from toys.complaints import complaint, composed
from toys.in_process import start

from dsrl.run.config.hydra_callbacks import ContinuedStudy, SearchOptions
from dsrl.run.config.study import num_trials
from dsrl.run.terminal import choices

SMALL = (*SHORT_PENDULUM, "sac.hidden=8", "decisions=80", "plot=false", "logging=csv")
ASKED = (*SMALL, "sac.target_kl=0.5", "sac.gamma=interval(0.8,0.9)")
LUCKY = "is not for hparams=optuna, which would search for the lucky one"
AFTERWARDS = "and afterwards run what the search has found without hparams and with several"
OPTIONS = "is not for hparams=optuna, because every {0} has options of its own; type one {0}, and run a search for each"


def best_of(run: Path) -> float:
    """Return the best of the validations that a run has logged."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return max(row["eval/mean_return"] for row in rows if "eval/mean_return" in row)


@pytest.mark.parametrize("sac", choices.names("sac"))
def test_the_ranges_of_an_algorithm_are_of_options_that_it_has(sac: str) -> None:
    cfg = composed("hparams=optuna", f"sac={sac}")
    assert cfg.hydra.sweeper.params
    last = {key: re.split(r"[(,)]+", str(value))[-2] for key, value in cfg.hydra.sweeper.params.items()}
    assert complaint(f"sac={sac}", *(f"{key}={value}" for key, value in last.items())) is None


def test_a_second_launch_continues_a_search_that_maximises_the_best_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trials in (2, 1):
        assert start("train.py", "hparams=optuna", f"hparams.n_trials={trials}", *ASKED, cwd=tmp_path) is None
        table = capsys.readouterr().out.rpartition("results in ")[2]
        shown = [f"{number}    done" for number in range(trials)]
        assert re.findall(r"^\d+ +(?:done|FAILED)", table, re.MULTILINE) == shown
    (database,) = tmp_path.glob("multirun/*/study.db")
    study = optuna.load_study(study_name="pendulum_dsrl_sac_search", storage=f"sqlite:///{database}")
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert len(study.trials) == 3
    scores = {}
    for summary in database.parent.glob("*/summary.json"):
        rate = OmegaConf.load(summary.parent / ".hydra" / "config.yaml").learning_rate
        scores[rate] = best_of(summary.parent)
        assert scores[rate] != json.loads(summary.read_text())["steered"]["mean_return"]  # that of the test worlds
    assert {trial.params["learning_rate"]: trial.value for trial in study.trials} == pytest.approx(scores)
    assert study.best_value == pytest.approx(max(scores.values()))
    for trial in study.trials:  # typed: a value leaves the space, a range joins it
        assert set(trial.params) == {"noise.magnitude", "learning_rate", "sac.tau", "sac.gamma"}


def launched(folder: Path, seed: int | None = None, *typed: str) -> DictConfig:
    """Return the config of a search in `folder`, whose study is `mine`."""
    config = composed("hparams=optuna", *typed)
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    config.hydra.sweeper.storage, config.hydra.sweeper.study_name = f"sqlite:///{folder}/study.db", "mine"
    config.hydra.sweeper.sampler.seed = seed
    return config


@pytest.mark.parametrize("seed", [7, None])
def test_a_search_that_was_killed_continues_with_other_draws_and_a_failed_trial(
    seed: int | None, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    config = launched(tmp_path, seed)
    ContinuedStudy().on_multirun_start(config)
    assert config.hydra.sweeper.sampler.seed == seed
    studies = {
        name: optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
        for name in ("mine", "other")
    }
    for study in studies.values():
        study.tell(study.ask(), 1.0)
        study.ask()

    def states(name: str) -> list[str]:
        return [trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).trials]

    config.hydra.sweep.dir = str(tmp_path / "elsewhere")  # whose lock says nothing about this database
    ContinuedStudy().on_multirun_start(config)
    assert states("mine") == ["COMPLETE", "RUNNING"]
    config.hydra.sweep.dir, config.hydra.sweeper.sampler.seed = str(tmp_path), seed
    ContinuedStudy().on_multirun_start(config)
    assert config.hydra.sweeper.sampler.seed == (None if seed is None else seed + 2)
    assert states("mine") == ["COMPLETE", "FAIL"]
    assert states("other") == ["COMPLETE", "RUNNING"]


def test_a_study_is_continued_with_the_values_that_its_trials_share(tmp_path: Path) -> None:
    gym = ("task=gym", "task.id=Pendulum-v1", "policy=identity", "+task.env_kwargs.fill=nan")
    ContinuedStudy().on_multirun_start(launched(tmp_path, None, *gym, "validation_seed=99"))
    ContinuedStudy().on_multirun_start(launched(tmp_path, None, *gym))  # no trial has finished with the others
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/study.db")
    study.tell(study.ask(), 1.0)
    without_effect = ("test_seed=7", "video_episodes=0", "logging=csv", "hparams.n_trials=3", "cluster=local")
    for typed in ((*gym, *without_effect), (*gym, "sac.tau=0.02"), (*gym, "decisions=100000")):
        ContinuedStudy().on_multirun_start(launched(tmp_path, None, *typed))
    begin_another = "their scores do not compare; type the same values again, or begin another study by hparams.study="
    for typed, key, before in (
        ("task.id=Other-v0", "task.id", "Pendulum-v1"),
        ("validation_seed=99", "validation_seed", "2000000"),
        ("noise=smooth", "noise", "full"),
    ):
        words = f"{typed} but the trials of the study mine had {key}={before}, and {begin_another}search2"
        with pytest.raises(SystemExit, match=f"^error: {re.escape(words)}$"):
            ContinuedStudy().on_multirun_start(launched(tmp_path, None, *gym, typed))


def test_a_study_is_continued_with_the_files_of_its_policy(tmp_path: Path) -> None:
    weights = tmp_path / "base" / "weights"
    weights.parent.mkdir()
    typed = ("task=pendulum", "policy=diffusion_mlp", f"policy.path={weights.parent}", f"offline_data={weights}")
    for number, content in enumerate(("of an earlier launch, which finished no trial", "one", "one", "other")):
        weights.write_text(content)
        for unread in (".cache", "README.md", "LICENSE.txt"):
            (weights.parent / unread).write_text(str(number))
        if content != "other":
            ContinuedStudy().on_multirun_start(launched(tmp_path, None, *typed))
        if number == 1:
            study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/study.db")
            study.tell(study.ask(), 1.0)
    words = r"policy_files_sha256=.?\w{16}.? but the .* do not compare; restore these files, or begin another study by"
    with pytest.raises(SystemExit, match=f"^error: {words}"):
        ContinuedStudy().on_multirun_start(launched(tmp_path, None, *typed))


@pytest.mark.parametrize("view", [False, True])
def test_a_database_that_optuna_cannot_read_is_one_sentence(view: bool, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    if view:
        optuna.create_study(study_name="mine", storage=storage)
        with sqlite3.connect(tmp_path / "study.db") as database:
            database.executescript("DROP TABLE studies; CREATE VIEW studies AS SELECT 1 AS study_id")
    else:
        (tmp_path / "study.db").write_bytes(b"garbage" * 1000)
    config = launched(tmp_path, seed=7)
    words = rf"^error: {re.escape(storage)} is no database that Optuna can read \(.+\); restore it, or name another"
    with pytest.raises(SystemExit, match=words) as refused:
        ContinuedStudy().on_multirun_start(config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (
            "DROP TABLE trials; CREATE VIEW trials AS WITH RECURSIVE rows(n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM rows) SELECT n AS trial_id FROM rows",
            "the view 'trials'",
        ),
        ("CREATE TRIGGER more AFTER INSERT ON trials BEGIN DELETE FROM studies; END", "the trigger 'more'"),
        ("CREATE TABLE more (a INTEGER, b TEXT GENERATED ALWAYS AS (hex(a)))", "the table 'more'"),
        ("CREATE INDEX more ON study_user_attributes(hex(zeroblob(400000000)))", "the index 'more'"),
        ("DROP TABLE studies; CREATE TABLE studies (study_id INTEGER CHECK (length(hex(zeroblob(9)))))", "the table"),
    ],
)
def test_a_database_with_more_than_a_study_of_optuna_is_not_read(sql: str, found: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="mine", storage=storage)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.executescript(sql)
    with pytest.raises(ValueError, match=rf"Optuna can read \({found}.* is none of Optuna's\); restore it"):
        num_trials(storage, "mine", end_running=False)


def killed_in_a_commit(folder: Path, sql: str = "") -> str:
    """Copy a study with half a write: one trial, which is deleted, and before that what `sql` adds."""
    study = optuna.create_study(study_name="mine", storage=f"sqlite:///{folder}/whole.db")
    study.tell(study.ask(), 1.0)
    with sqlite3.connect(folder / "whole.db") as database:
        database.executescript(sql)
    database.executescript("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; DELETE FROM trials")
    database.executemany("INSERT INTO studies (study_name) VALUES (?)", ((f"{n:500}",) for n in range(100)))
    (folder / "study.db").write_bytes((folder / "whole.db").read_bytes())
    (folder / "study.db-journal").write_bytes((folder / "whole.db-journal").read_bytes())
    database.close()
    return f"sqlite:///{folder}/study.db"


def test_a_search_that_was_killed_in_a_commit_continues(tmp_path: Path) -> None:
    assert num_trials(killed_in_a_commit(tmp_path), "mine", end_running=True) == 1


def test_half_a_write_is_undone_only_where_the_study_is_then_one_of_optuna(tmp_path: Path) -> None:
    storage, journal = killed_in_a_commit(tmp_path, "CREATE INDEX more ON trials(abs(number))"), "study.db-journal"
    content = (tmp_path / journal).read_bytes()
    for written, found in (
        (content, "the index 'more' is none of Optuna's"),
        (content + bytes.fromhex("d9d505f920a163d7"), "study.db-journal names a journal of other databases"),
    ):
        (tmp_path / journal).write_bytes(written)
        with pytest.raises(ValueError, match=rf"is no database that Optuna can read \({found}\); restore it"):
            num_trials(storage, "mine", end_running=True)
        assert (tmp_path / journal).read_bytes() == written


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("hparams.n_trials=abc", "hparams.n_trials=abc must be a whole number of at least 1"),
        ("hparams.n_jobs=0", "hparams.n_jobs=0 must be at least 1"),
        ("hparams.n_startup_trials=-1", "hparams.n_startup_trials=-1 must be at least 0"),
        ("hparams.seed=-1", "hparams.seed=-1 must be at least 0"),
        ("batch_size=0", "batch_size=0 must be between 1 and 1000000"),
        (
            "sac.alpha=0.1 sac.target_kl=0.3",
            "sac.target_kl=0.3 is not used with sac.alpha=0.1; type sac.alpha=auto, or leave it out",
        ),
        ("seed=0,1", f"seed=0,1 {LUCKY}; type seed with one value, {AFTERWARDS}"),
        ("seed=range(0,3)", f"seed=range(0,3) {LUCKY}; type seed with one value, {AFTERWARDS}"),
        ("test_seed=choice(1,2)", f"test_seed=choice(1,2) {LUCKY}; type test_seed with one value, {AFTERWARDS}"),
        ("experiment=metaworld", f"seed=0,1,2 {LUCKY}; type seed with one value, {AFTERWARDS}"),
        ("sac=dsrl_sac,lp_ds", f"sac=dsrl_sac,lp_ds {OPTIONS.format('sac')}"),
        ("noise=smooth,full", f"noise=smooth,full {OPTIONS.format('noise')}"),
        (
            "experiment=methods seed=0",
            f"method=sac_repeat,sac_full,na,lp_ds,golden_ticket,best_of_n {OPTIONS.format('method')}",
        ),
    ],
)
def test_a_wrong_option_of_a_search_is_one_sentence(typed: str, sentence: str) -> None:
    swept = [word for word in typed.split() if re.search(r"=.*[,(]", word)]  # which a config of one run cannot have
    config = composed("hparams=optuna", *(word for word in typed.split() if word not in swept))
    with open_dict(config):
        config.hydra.overrides.task.extend(swept)
    with pytest.raises(SystemExit, match=f"^error: {re.escape(sentence)}$"):
        SearchOptions().on_multirun_start(config)


def test_it_comes_before_any_run(tmp_path: Path) -> None:
    ending = start("train.py", "hparams=optuna", "hparams.n_jobs=0", cwd=tmp_path)
    assert ending == "error: hparams.n_jobs=0 must be at least 1"
    assert not list(tmp_path.glob("multirun/*"))


def test_a_range_without_effect_leaves_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    config = composed("hparams=optuna", "sac=dsrl_sac", "sac.regulariser=entropy")
    assert "sac.target_kl" in config.hydra.sweeper.params
    SearchOptions().on_multirun_start(config)
    assert {"noise.magnitude", "learning_rate", "sac.tau"} <= set(config.hydra.sweeper.params)
    assert "sac.target_kl" not in config.hydra.sweeper.params
    assert "sac.target_kl is not searched: it has no effect with sac.regulariser=entropy" in capsys.readouterr().out


def test_a_range_that_has_an_effect_in_some_trials_refuses_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ("hparams=optuna", "hparams.n_trials=1", "hparams.seed=0", "sac.regulariser=choice(entropy,kl)")
    assert start("train.py", *search, *SMALL, cwd=tmp_path) is None
    assert "is not searched" not in capsys.readouterr().out
    (database,) = tmp_path.glob("multirun/*/study.db")
    study = optuna.load_study(study_name="pendulum_dsrl_sac_search", storage=f"sqlite:///{database}")
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE]
    drawn = {"noise.magnitude", "learning_rate", "sac.tau", "sac.target_kl", "sac.regulariser"}
    assert set(study.trials[0].params) == drawn
