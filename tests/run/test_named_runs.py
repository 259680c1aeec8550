"""Several runs named at once by eval.py: those that cannot be evaluated are left out and named, before and after."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from toys.requests import newest_evaluation, options_of, request_of
from toys.typed import digests, type_eval

from dsrl.run.config.request import Request, requests
from dsrl.run.config.settings import saved_config
from dsrl.run.named_runs import destinations, with_checkpoint, without_config
from dsrl.run.saved.folder import RunFolder


def _request(path: Path, *, finished: bool, checkpoint: str = "returned") -> Request:
    folder = RunFolder(path)
    folder.config.parent.mkdir(parents=True)
    folder.config.write_text("seed: 0\n")
    if finished:
        folder.save("best", {"learnt": "up"})
    return request_of(path, checkpoint=checkpoint)


def test_of_several_runs_those_without_the_checkpoint_are_left_out(tmp_path: Path) -> None:
    one, two, three = (_request(tmp_path / name, finished=name == "b") for name in "abc")
    assert with_checkpoint([two, one]) == (
        [two],
        [f"1 run is left out because it has no checkpoint=best: {tmp_path / 'a'}"],
    )
    assert with_checkpoint([one, two, three]) == (
        [two],
        [f"2 runs are left out because they have no checkpoint=best: {tmp_path / 'a'}, {tmp_path / 'c'}"],
    )


def test_nothing_is_left_out_where_nothing_would_be_left_so_that_loading_says_why(tmp_path: Path) -> None:
    one, two = (_request(tmp_path / name, finished=False) for name in "ab")
    assert with_checkpoint([one]) == ([one], [])
    assert with_checkpoint([one, two]) == ([one, two], [])


def test_the_base_policy_needs_no_checkpoint(tmp_path: Path) -> None:
    both = [_request(tmp_path / name, finished=name == "b", checkpoint="none") for name in "ab"]
    assert with_checkpoint(both) == (both, [])


def test_folders_without_a_run_that_a_glob_matches_are_named(tmp_path: Path) -> None:
    _request(tmp_path / "0", finished=True)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "failure.txt").touch()
    (tmp_path / "multirun.yaml").touch()  # no folder that anybody would expect to be evaluated
    sentence = f"1 folder is left out because it has no .hydra/config.yaml: {tmp_path / '1'}"
    for named in (f"{tmp_path}/*", [f"{tmp_path}/*", f"{tmp_path}/0"]):
        assert without_config(named) == [sentence]
    assert without_config(str(tmp_path / "0")) == []


def test_links_that_a_glob_matches_are_not_followed_out_of_the_typed_folder(tmp_path: Path) -> None:
    sweep, mine = tmp_path / "sweep", tmp_path / "mine"
    _request(sweep / "0", finished=True)
    _request(mine, finished=True)
    (sweep / "1").symlink_to(mine)
    (sweep / "2").symlink_to("0")
    (tmp_path / "scratch").symlink_to(sweep)  # a link that is typed is meant
    for typed in (sweep, tmp_path / "scratch"):
        (link,) = without_config(f"{typed}/*")
        assert link.startswith("1 folder is left out because it has a link that leads out of the typed folder (type ")
        assert link.endswith(f": {typed / '1'}")
        assert [one.run for one in requests(options_of(run=f"{typed}/*"))] == [f"{typed}/0", f"{typed}/2"]
    assert [one.run for one in requests(options_of(run=f"{sweep}/1"))] == [f"{sweep}/1"]
    with pytest.raises(FileNotFoundError, match=f"links that lead elsewhere; type run={sweep}/1$"):
        requests(options_of(run=f"{sweep}/[1]"))


def test_each_of_several_named_runs_has_a_folder_in_out_even_where_one_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    request = request_of(tmp_path / "a", out=str(tmp_path / "out"))
    assert destinations([request], several=True) == [tmp_path / "out" / "a"]
    assert destinations([request], several=False) == [tmp_path / "out"]


@pytest.mark.parametrize("out", ["/dev/null", "/proc/x"])
def test_an_out_in_which_nothing_can_be_written_is_refused_by_its_key(out: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^out={out} cannot be used \(.+\); name another folder$"):
        destinations([request_of(tmp_path / "a", out=out)], several=False)


@pytest.mark.parametrize(("several", "file"), [(False, "eval.json"), (True, "a/eval.json")])
def test_an_out_with_the_results_of_an_earlier_evaluation_is_refused(several: bool, file: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    request = request_of(tmp_path / "a", out=str(out))
    (out / file).parent.mkdir(parents=True)
    (out / file).touch()
    sentence = f"out={out} has {file} of an earlier evaluation; type another out=…, or leave it out"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        destinations([request], several=several)
    place = (out / file).parent
    assert destinations([request_of(tmp_path / "a", out=str(out), video_seeds=[3])], several=several) == [place]
    (place / "eval_failure.txt").touch()  # its sentence says to type the command again
    assert destinations([request], several=several) == [place]


def test_a_second_evaluation_leaves_the_results_of_the_first_as_they_are(finished: Path, tmp_path: Path) -> None:
    typed = (f"run={finished}", f"out={tmp_path / 'out'}", "base=false")
    assert type_eval(*typed, "eval_episodes=2") is None
    before = (tmp_path / "out" / "eval.json").read_bytes()
    assert f"out={tmp_path / 'out'} has eval.json of an earlier" in str(type_eval(*typed, "eval_episodes=3"))
    assert (tmp_path / "out" / "eval.json").read_bytes() == before


@pytest.mark.parametrize("several", [False, True])
def test_an_evaluation_is_not_written_into_a_run_whose_metrics_its_loggers_would_remove(
    several: bool, run: Path
) -> None:
    other = shutil.copytree(run, run.parent / "other")
    before = digests(run)
    out = run.parent if several else run
    named = f"run=[{run},{other}]" if several else f"run={run}"
    ending = type_eval(named, f"out={out}", "logging=tensorboard")
    assert ending == f"error: out={out} would write into the run {run}; type another out=…, or leave it out"
    assert digests(run) == before


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.jsonl", "tensorboard", "wandb_run_id.txt"])
def test_an_out_with_the_logs_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).touch()
    request = request_of(tmp_path / "a", out=str(out))
    with pytest.raises(ValueError, match=f"has {name} of something else; type another out=…, or leave it out"):
        destinations([request], several=False)
    (out / "eval_failure.txt").touch()  # they are of the evaluation that failed
    assert destinations([request], several=False) == [out]


def test_an_unfinished_run_does_not_keep_the_others_from_being_evaluated(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "a")
    shutil.copytree(finished, tmp_path / "b", ignore=shutil.ignore_patterns("best", "summary.json"))
    (tmp_path / "c").mkdir()
    assert type_eval(f"run={tmp_path}/*", "eval_episodes=2", "base=false", "checkpoint=best") is None
    assert newest_evaluation(tmp_path / "a")["request"]["eval_episodes"] == 2
    assert not (tmp_path / "b" / "eval").exists()
    said = capsys.readouterr().out
    sentences = ("run is left out because it has no checkpoint=best", "folder is left out because it has no .hydra/")
    for sentence in sentences:
        before, after = said.index(sentence), said.rindex(sentence)
        assert before < said.index("written to") < after
    assert str(type_eval(f"run={tmp_path}/b", "checkpoint=best")).startswith("error: checkpoint=best is not in ")
    assert str(type_eval(f"run={tmp_path}/b")).startswith(f"error: run={tmp_path}/b has no best checkpoint, which a r")


def test_what_is_named_in_place_of_a_run_is_worded_with_the_run_that_it_is_of(tmp_path: Path) -> None:
    _request(tmp_path / "a", finished=True)
    (tmp_path / "notes.txt").touch()
    manifest = tmp_path / "a" / "checkpoints" / "best" / "manifest.json"
    for path, sentence in (
        (manifest, f"is a file; type run={tmp_path / 'a'}"),
        (manifest.parent, f"has no .hydra/config.yaml; type run={tmp_path / 'a'}"),
        (tmp_path / "notes.txt", "is a file; type the folder of a run of train.py"),
        (tmp_path / "gone", "does not exist; type the folder of a run of train.py"),
    ):
        with pytest.raises(FileNotFoundError) as raised:
            saved_config(path, "run", [])
        assert str(raised.value) == f"run={path} {sentence}"
