"""A typed key that the composed run does not use is refused; values that a file chose may stay unused."""

from __future__ import annotations

import shlex
from itertools import chain
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toys.complaints import complaint, composed
from toys.in_process import start
from toys.requests import request_of

from dsrl.run.config.learners import LEARNERS, NO_RECORDS, learns_with
from dsrl.run.config.request import check_used
from dsrl.run.config.settings import CHECKPOINT_TYPES, GROUPS, TYPES, references
from dsrl.run.config.typed_keys import ALWAYS_BESIDE, FRESH_BESIDE, ONLY_WITH, typed_keys
from dsrl.run.terminal import choices
from dsrl.run.terminal.errors import UserError, user_errors

OWN = "is not used by sac=dsrl_pi0, which has its own"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("sac=dsrl_pi0 gamma=0.9", f"gamma=0.9 {OWN} sac.gamma; type sac.gamma=0.9"),
        ("sac=dsrl_pi0 reward_scale=2", f"reward_scale=2 {OWN} sac.reward_scale; type sac.reward_scale=2"),
        (
            "sac=dsrl_pi0 learning_rate=1e-3",
            f"learning_rate=1e-3 {OWN} sac.actor_lr and sac.critic_lr; type sac.actor_lr=1e-3 sac.critic_lr=1e-3",
        ),
        ("sac=dsrl_pi0 critic_warmup_updates=9", f"critic_warmup_updates=9 {OWN} sac.critic_warmup_updates; type"),
        ("sac.gamma=0.5 gamma=0.9", "gamma=0.9 is not used by sac=dsrl_sac, which has its own sac.gamma; type"),
        ("experiment=hopper_official gamma=0.9", "gamma=0.9 is not used by sac=dsrl_na, which has its own"),
        ("sac=golden_ticket gamma=0.9", "gamma=0.9 is not used by sac=golden_ticket; leave it out"),
        ("sac=golden_ticket utd=9", "utd=9 is not used by sac=golden_ticket, which learns no networks; leave"),
        ("sac=golden_ticket batch_size=9", "batch_size=9 is not used by sac=golden_ticket"),
        ("sac=golden_ticket buffer_size=9", "buffer_size=9 is not used by sac=golden_ticket"),
        ("sac=golden_ticket warmup_decisions=9", "warmup_decisions=9 is not used by sac=golden_ticket"),
        ("sac=golden_ticket eval_every=9", "eval_every=9 is not used by sac=golden_ticket"),
        ("sac=golden_ticket stop_on_collapse=true", "stop_on_collapse=true is not used by sac=golden_ticket"),
        ("method=golden_ticket utd=9", "utd=9 is not used by sac=golden_ticket"),
        ("best_of=8", "best_of=8 is not used by sac=dsrl_sac, which does not learn from executed chunks; leave it out"),
        (
            "sac=dsrl_na best_of=8",
            "draws=held: best_of=8 plays the best of fresh draws at each decision; type draws=fresh",
        ),
        ("method=best_of_n draws=held", "draws=held: best_of=16 plays the best of fresh draws at each decision; type"),
        (
            "method=best_of_n sac.target_draws=held",
            "sac.target_draws=held: best_of=16 plays the best of fresh draws at each decision; type sac.target_",
        ),
        ("sac=dsrl_edit best_of=8 sac.exploration=held", "sac.exploration=held: best_of=8 plays the best of fresh"),
        ("sac=lp_ds offline_data=x", "offline_data=x is not used by sac=lp_ds"),
        ("sac=lp_ds offline_share=.5", "offline_share=.5 is not used by sac=lp_ds"),
        ("sac=dsrl_na offline_share=.5", "offline_share=0.5 needs data; type offline_data=<folder"),
        ("sac=dsrl_na offline_updates=5", "offline_updates=5 needs data; type offline_data=<folder"),
        ("sac.alpha=0.1 sac.alpha_lr=1e-3", "sac.alpha_lr=1e-3 is not used with sac.alpha=0.1; type sac.alpha=auto"),
        ("sac.alpha=0.1 sac.initial_alpha=1", "sac.initial_alpha=1 is not used with sac.alpha=0.1"),
        ("sac.alpha=0.1 sac.target_entropy=1", "sac.target_entropy=1 is not used with sac.alpha=0.1"),
        ("sac.alpha=0.1 sac.target_kl=1", "sac.target_kl=1 is not used with sac.alpha=0.1"),
        (
            "sac.target_entropy=1",
            "sac.target_entropy=1 is not used with sac.regulariser=kl; type sac.regulariser=entropy",
        ),
        ("sac.regulariser=entropy sac.target_kl=1", "sac.target_kl=1 is not used with sac.regulariser=entropy"),
        ("task.observation=state task.image_size=64", "task.image_size=64 is not used with task.observation=state"),
        ("suite=push_v3 suite=hopper", "suite=push_v3 and suite=hopper are both typed; leave one of them out, or"),
        ("sac=dsrl_na seed=1 sac=dsrl_sac", "sac=dsrl_na and sac=dsrl_sac are both typed"),
        (
            "task=metaworld task.cameras=[topview]",
            "task.cameras=[topview] is not used with task.observation=state; type",
        ),
        ("sac=dsrl_edit sac.alpha=0.1 sac.target_kl=1", "sac.target_kl=1 is not used with sac.alpha=0.1"),
        ("sac=dsrl_select draws=held", "draws=held is not used by sac=dsrl_select; leave it out"),
        (
            "sac=dsrl_edit draws=held",
            "draws=held is not used by sac=dsrl_edit, which has its own sac.exploration; type",
        ),
        ("sac=lp_ds draws=held", "draws=held is not used by sac=lp_ds; leave it out"),
        ("+speed=9", "speed=9 is not used, there is no such option; leave it out"),
        ("+hparams.n_trials=9", "hparams.n_trials=9 is not used with hparams=none; type hparams=optuna"),
        (
            "+cluster.parallel=9",
            "cluster.parallel=9 is not used with cluster=none; type cluster=local or cluster=slurm",
        ),
        ("hparams.n_trials=9", "hparams.n_trials needs hparams=optuna; type that too"),
        ("cluster.parallel=9", "cluster.… needs cluster=local or cluster=slurm; type that too"),
        ("logging.wandb.mode=offline", "logging.wandb needs logging=wandb; type that too"),
        ("sac.replay=context", "sac.replay needs sac=dsrl_edit or sac=dsrl_na or sac=dsrl_select; type that too"),
        ("task=pendulum task.control=joint", "task.control needs task=pick_place or task=simple_pick"),
        ("device=cpu", "device is no option; did you mean policy.device?"),
        ("magnitude=2", "magnitude is no option; did you mean noise.magnitude?"),
        ("hydra.mode=NO", "hydra.mode=NO must be one of RUN, MULTIRUN"),
        ("hydra.job.chdir=maybe", "hydra.job.chdir=maybe must be true or false"),
        ("hydra.sweep=3", "hydra.sweep is a group of keys; type one of hydra.sweep.dir, hydra.sweep.subdir"),
        ("n_envs=2", "n_envs is not the name of this option; type num_envs=…"),
        ("sac=_actor_critic", "sac=_actor_critic is not known; choose one of dsrl_edit, dsrl_na, dsrl_pi0, dsrl_sac"),
        ("sac=ppo", "sac=ppo is not known; choose one of dsrl_edit, dsrl_na, dsrl_pi0, dsrl_sac, dsrl_select"),
        ("task=_mujoco", "task=_mujoco is not known; choose one of aloha, gym, halfcheetah"),
        ("task=hopper method=sac_repeat", "method=sac_repeat means noise=repeat but task=hopper chooses noise=full"),
        ("task=hopper experiment=simple_pick_state", "experiment=simple_pick_state is of task=simple_pick; leave"),
        ("task=hopper experiment=methods_state", "experiment=methods_state is of task=simple_pick; leave out"),
        ("experiment=simple_pick_state suite=hopper", "suite=hopper is of task=hopper; leave out experiment="),
        ("confirm_episodes=0 confirm_seed=5", "confirm_seed=5 is not used with confirm_episodes=0; type another"),
        ("task=[pendulum]", "task=[pendulum] is no choice; type one without brackets"),
        ("+sac@foo=dsrl_na", "+sac@foo=dsrl_na is not used: no run reads foo; leave out @foo"),
        ("+task=pendulum", "task has a choice already; type task=pendulum, without a plus"),
        ("++task=pendulum", "task has a choice already; type task=pendulum, without a plus"),
        ("experiment=smoke,suite", "experiment=smoke,suite has several values; type -m too"),
        (
            "suite=push_v3 policy=identity",
            "policy.path, set by task=metaworld, is no option; dsrl.policy.identity.IdentityPolicy takes none; "
            "type ~policy.path too",
        ),
        ("task=pendulum +policy.path=x", "policy.path is no option; dsrl.policy.identity.IdentityPolicy takes none"),
        ("task=pendulum ~noise=auto", "~noise=auto removes nothing, because another noise is chosen; leave it out"),
        ("~speed", "~speed removes nothing, there is no such option; leave it out"),
        ("~seed=1", "~seed=1 removes nothing, because seed=0; leave it out"),
        ("~decisions", "decisions is missing; leave ~decisions out"),
        ("sac.tau=interval(0.1,0.2)", "sac.tau=interval(0.1,0.2) is for a search; type hparams=optuna too"),
        ("seed=range(0,2)", "seed=range(0,2) has several values; type -m too for a run of each"),
        ("seed.x=3", "seed.x is no option, because seed has no keys; type seed=…"),
        ("~hydra.job.chdir", "hydra.job.chdir cannot be removed; leave ~hydra.job.chdir out"),
        ("checkpoint=last", "checkpoint is an option of eval.py, which evaluates a run; python eval.py --help"),
    ],
)
def test_a_typed_key_without_effect_is_one_sentence(overrides: str, sentence: str) -> None:
    message = complaint(*overrides.split())
    assert message is not None
    assert message.removeprefix("error: ").startswith(sentence)


@pytest.mark.parametrize(
    "overrides",
    [
        "gamma=0.9 learning_rate=1e-3 reward_scale=2 critic_warmup_updates=3 draws=fresh",
        "sac=dsrl_pi0 sac.gamma=0.9 utd=2",
        "sac.actor_lr=1e-3 learning_rate=1e-2",  # of the critics
        "sac=golden_ticket validation_episodes=9 validation_seed=7 decisions=900",
        "sac=golden_ticket best_of=null",
        "sac=dsrl_na best_of=4 draws=fresh",
        "sac=dsrl_na best_of=4 sac.exploration=fresh sac.target_draws=fresh",
        "sac=dsrl_edit best_of=4",
        "sac=dsrl_na best_of=null draws=held",
        "task=metaworld task.observation=images task.cameras=[topview]",
        "sac=dsrl_edit sac.edit_noise=1 sac.edit_draws=0",  # σ is in the loss of the edits
        "sac=dsrl_edit sac.alpha=0.05 sac.initial_alpha=0.3 sac.alpha_lr=1e-3",  # of the edits' temperature
        "sac=dsrl_edit sac.exploration=held",  # as the message about draws advises
        "sac=dsrl_select sac.exploration=fresh sac.target_draws=fresh",
        "sac=dsrl_na offline_data=x offline_share=.5 offline_updates=3",
        "task=hopper sac=golden_ticket",  # the task's warm-up stays unused
        "experiment=methods_state method=golden_ticket",  # and the experiment's batch
        "task=pendulum video_episodes=3",
        "task=hopper method=sac_repeat noise=repeat",
        "+policy.camera_map.front=side",
        "policy.camera_map={front:camera1}",  # as the message about other cameras advises
        "hydra.run.dir=x seed=3",
        "resume=null",
        "cluster=local cluster.parallel=3",
        "hparams=optuna hparams.n_trials=3",
        "++noise.action_dims=2",
        "decisions=900 sac=dsrl_na decisions=1200 sac=dsrl_na",  # a command that is continued
    ],
)
def test_a_typed_key_with_an_effect_is_accepted(overrides: str) -> None:
    assert complaint(*overrides.split()) is None


def test_keys_without_a_group_are_those_of_the_loops_and_those_that_algorithms_refer_to() -> None:
    referred = {name for sac in choices.names("sac") for _, name in references(composed(f"sac={sac}"), "sac")}
    assert choices.top_level() == set(TYPES) | set(CHECKPOINT_TYPES) | {"plugins"} | referred


def test_the_tables_name_keys_that_exist() -> None:
    assert set(LEARNERS) <= choices.top_level()
    conditions = [(key, *others) for key, others in ONLY_WITH.items()] + list(ALWAYS_BESIDE.items())
    of_draws = [f"sac.{name}" for option, others in FRESH_BESIDE.items() for name in (option, *others)]
    for name in [*chain.from_iterable(conditions), *of_draws]:
        group, _, option = name.partition(".")
        assert choices.with_option(group, option), name


def test_typed_keys_are_read_in_the_grammar_of_hydra() -> None:
    typed = typed_keys(["a.b=1", "+c={x: 1}", "++d=[1,2]", "~e", "hydra.run.dir=x", "task=hopper"])
    assert typed == {"a.b": "a.b=1", "c": "c={x: 1}", "d": "d=[1,2]", "task": "task=hopper"}


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("seed=${oc.env:NOPE}", "Environment variable 'NOPE' not found"),
        ("task.max_steps=${oc.env:NOPE}", "Environment variable 'NOPE' not found"),
        ("logging.csv.folder=${nope}", "Interpolation key 'nope' not found"),
        ("seed=${nope:1}", "Unsupported interpolation type nope"),
        ("seed=${seed}", "Recursive interpolation detected"),
    ],
)
def test_a_reference_to_what_is_not_there_is_named_with_the_reason(
    typed: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOPE", raising=False)
    expected = f"error: {typed} cannot be resolved ({reason}); set what it refers to, or type the value itself"
    assert complaint("task=pendulum", typed) == expected


def test_a_file_that_refers_to_what_is_not_there_is_named_by_its_key() -> None:
    cfg = OmegaConf.create({"seed": "${oc.env:NOPE}", "folder": "a"})
    with pytest.raises(UserError, match=r"^seed: KeyError .*\"Environment variable 'NOPE' not found\"$"), user_errors():
        assert cfg.seed
    words = OmegaConf.create({"words": ["${nope}"]}).words
    with pytest.raises(UserError, match=r"^config: Interpolation key 'nope' not found$"), user_errors():
        assert list(words)


def test_a_number_of_the_environment_is_answered_with_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED_OF_MINE", "7")
    sentence = str(complaint("task=pendulum", "seed=${oc.env:SEED_OF_MINE}"))
    assert sentence.startswith('error: seed="7" must be a whole number between 0 and 4294967295; ')
    (advised,) = shlex.split(sentence.rpartition(", type ")[2])
    assert advised == 'seed="${oc.decode:${oc.env:SEED_OF_MINE}}"'
    assert complaint("task=pendulum", advised) is None
    assert complaint("task=pendulum", "seed=${num_envs}") is None


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("sac.alpha=3", "sac.…"),
        ("noise.magnitude=3", "noise.…"),
        ("decisions=3", "decisions"),
        ("task=pendulum", "task"),
        ("sac=dsrl_sac", "sac"),
    ],
)
def test_an_evaluation_names_keys_of_its_run_as_such(typed: str, key: str, tmp_path: Path) -> None:
    assert start("eval.py", "run=nowhere", typed, cwd=tmp_path) == (
        f"error: {key} is no option of eval.py, where all but its own keys come from the run's config; "
        "leave it out, python eval.py --help lists those keys"
    )


@pytest.mark.parametrize(
    ("options", "typed", "words"),
    [
        ({"checkpoint": "none"}, "stochastic", "checkpoint=none"),
        ({"checkpoint": "none"}, "best_of", "checkpoint=none"),
        ({"checkpoint": "none"}, "base", "checkpoint=none"),
        ({"video_seeds": [3]}, "eval_episodes", "video_seeds"),
        ({"video_seeds": [3]}, "test_seed", "video_seeds"),
        ({"best_of": 4, "stochastic": True}, "stochastic", "best_of=4"),
    ],
)
def test_an_option_of_an_evaluation_without_effect_is_refused(
    options: dict[str, object], typed: str, words: str, tmp_path: Path
) -> None:
    request = request_of(tmp_path, **options)
    check_used(request, {"run": "run=x"})
    with pytest.raises(ValueError, match=f"{typed}=1 is not used with {words}"):
        check_used(request, {typed: f"{typed}=1"})


def test_an_evaluation_writes_its_metrics_beside_its_results(tmp_path: Path) -> None:
    key = "logging.csv.folder"
    with pytest.raises(ValueError, match=r"folder=/x is not used by eval\.py, which .* one folder; type out=<folder>"):
        check_used(request_of(tmp_path), {key: f"{key}=/x"})


@pytest.mark.parametrize(
    ("old", "new"), [("episodes=3", "eval_episodes"), ("seed=3", "test_seed"), ("film=3", "video_seeds")]
)
def test_an_earlier_spelling_is_answered_with_the_name_of_today(old: str, new: str, tmp_path: Path) -> None:
    ending = start("eval.py", "run=nowhere", old, cwd=tmp_path)
    assert ending == f"error: {old.partition('=')[0]} is not the name of this option; type {new}=…"


def test_a_sweep_names_the_key_that_one_of_its_runs_does_not_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", "sac=dsrl_pi0,golden_ticket", "gamma=0.9", "hydra.sweep.dir=sweep")
    ending = start("train.py", *sweep, cwd=tmp_path)
    assert ending
    errors = f"{ending}{capsys.readouterr().err}"
    assert "gamma=0.9 is not used by sac=dsrl_pi0, which has its own sac.gamma; type sac.gamma=0.9" in errors


def test_the_parts_of_a_run_are_groups_with_choices() -> None:
    assert set(GROUPS) <= set(choices.groups())


def test_an_algorithm_of_users_may_learn_from_recorded_decisions_without_our_options() -> None:
    without = set(choices.names("sac")) - set(choices.with_option("sac", "regulariser"))
    assert set(NO_RECORDS) == without - {"dsrl_edit", "dsrl_select"}
    assert learns_with({"_target_": "mylab.sac.cautious_sac.build_cautious_sac"}, "offline_data")
    assert not learns_with({"_target_": "dsrl.sac.lp_ds.build_lp_ds"}, "offline_data")
    assert not learns_with({"_target_": "mylab.sac.search.build_search"}, "utd")
