"""Names of options in other code: refused with our name, which is that of docs/coming_from.md."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf
from toys.commands import ROOT
from toys.complaints import complaint, composed

from dsrl.run.terminal import choices
from dsrl.run.terminal.renamed import NEEDLESS, RENAMED, new_names

OTHERWISE = {"critic_backup_combine_type", "critic_reduction", "max_steps", "log_freq", "type", "repo_id", "root"}
"""Names on the page that are no other name of the key beside them: its choices, a key of our tasks, parts of names."""


def _rows() -> list[tuple[set[str], str]]:
    """Return the names in the first column, without dashes and groups, and the second column of each row."""
    rows = [line.split(" | ") for line in (ROOT / "docs" / "coming_from.md").read_text("utf-8").splitlines()]
    shown = [row for row in rows if len(row) > 2 and "`" in row[0]]
    return [({_name(span) for span in re.findall(r"`([^`]+)`", row[0])}, row[1]) for row in shown]


def _name(span: str) -> str:
    return re.split(r"[ =:]", span.lstrip("-"))[0].rpartition(".")[2].replace("-", "_")


def test_our_names_are_those_of_the_page() -> None:
    on_the_page = {name: [ours for names, ours in _rows() if name in names] for names, _ in _rows() for name in names}
    for name, ours in RENAMED.items():
        cells = on_the_page.get(name.rpartition(".")[2])
        assert cells is None or any(f"`{one}" in cell for one in ours for cell in cells), (name, ours, cells)


def test_names_of_the_page_with_one_new_name_are_renamed() -> None:
    known = {*choices.groups(), *choices.top_level(), *choices.keys_of_eval()}
    for names, ours in _rows():
        keys = re.findall(r"`([\w.]+)(?:=…)?`", ours)
        if len(keys) == 1 and ours.count("`") == 2 and keys[0].partition(".")[0] in known:
            missing = names - set(RENAMED) - known - OTHERWISE - {keys[0].rpartition(".")[2]}
            assert not missing, (missing, ours)


def test_options_that_nothing_here_needs_are_those_of_the_page() -> None:
    needless = set().union(*(names for names, ours in _rows() if ours.strip() == "–"))
    assert needless >= NEEDLESS


@pytest.mark.parametrize("ours", sorted({one for ours in RENAMED.values() for one in ours}))
def test_a_new_name_exists(ours: str) -> None:
    group, _, option = ours.replace("=", ".").partition(".")
    if group == "hydra":
        assert OmegaConf.select(composed(), ours) is not None
    elif "=" in ours:
        assert option in choices.names(group)
    elif option:
        assert choices.with_option(group, option)
    else:
        assert group in {*choices.groups(), *choices.top_level(), *choices.keys_of_eval()}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("max_episode_steps=3", "max_episode_steps is not the name of this option; type task.max_steps=…"),
        ("track=true", "track is not the name of this option; type logging=wandb"),
        ("load_run=x", "load_run is not the name of this option; type resume=…"),
        ("policy.n_action_steps=8", "policy.n_action_steps is not the name of this option; type horizon=…"),
        ("output_dir=x", "output_dir is not the name of this option; type hydra.run.dir=…"),
        ("num_evals=9", "num_evals is not the name of this option; type validation_episodes=… or eval_episodes=…"),
        ("headless=true", "headless is no option, and nothing here needs it; leave it out"),
        ("env.max_episode_steps=3", "env.max_episode_steps is not the name of this option; type task.max_steps=…"),
        ("train.utd=20", "train.utd is not the name of this option; type utd=…"),
        ("model.ddim_steps=4", "model.ddim_steps is not the name of this option; type policy.num_steps=…"),
        ("eval.batch_size=4", "eval.batch_size is not the name of this option; type num_envs=…"),
        ("train.tau=0.1", "train.tau is no option; did you mean sac.tau?"),
        ("env.reward_offset=1", "env.reward_offset is no option, and nothing here needs it; leave it out"),
        ("env.kind=x", "env.kind is not the name of this option; type task=…"),
    ],
)
def test_a_name_of_other_code_is_refused_with_ours(typed: str, sentence: str) -> None:
    assert complaint(typed) == f"error: {sentence}"


def test_eval_offers_what_it_has_alone() -> None:
    assert new_names("load_run", ["run", "checkpoint"]) == ["run=…"]
    assert new_names("algorithm", ["run", "checkpoint"]) == []
