"""Names that options have in other code and had in earlier versions, by their names here; docs/coming_from.md."""

from __future__ import annotations

_NAMES = {  # a key, or a whole choice -> other names
    "sac": "algorithm",
    "policy.path": "base_policy_path network_path",
    "policy.num_steps": "ddim_steps num_inference_steps policy.num_inference_steps",
    "policy.camera_map": "rename_map",
    "horizon": "act_steps query_freq n_action_steps policy.n_action_steps",
    "num_envs": "n_envs n_eval_envs num_workers training_num step_per_collect eval.batch_size",
    "task": "env env_id env.task env.type",
    "task.max_steps": "max_episode_steps",
    "task.processes": "use_async_envs",
    "noise.magnitude": "action_magnitude",
    "utd": "train_freq multi_grad_step update_per_step",
    "decisions": "max_epoch epoch total_timesteps steps",
    "warmup_decisions": "init_rollout_steps start_online_updates num_initial_traj_collect start_timesteps "
    "learning_starts",
    "gamma": "discount",
    "learning_rate": "lr",
    "sac.hidden": "layer_size hidden_dims hidden_sizes",
    "sac.depth": "num_layers",
    "sac.num_critics": "n_critics num_qs",
    "sac.noise_critic_grad_steps": "noise_critic_grad_steps",
    "sac.target_entropy": "target_ent",
    "sac.alpha": "auto_alpha",
    "sac.alpha_lr": "temp_lr",
    "eval_every": "eval_interval env_eval_freq eval_freq step_per_epoch",
    "validation_episodes": "num_evals",
    "eval_episodes": "episodes num_episodes n_episodes test_num num_evals",
    "test_seed": "seed",
    "video_episodes": "save_video render video",
    "video_seeds": "film",
    "offline_data": "load_offline_data offline_data_path dataset.repo_id dataset.root",
    "checkpoint_minutes": "save_model_interval checkpoint_interval save_freq",
    "run": "checkpoint_path resume_path load_run",
    "resume": "checkpoint_path resume_path load_run",
    "logging=wandb": "use_wandb track wandb.enable",
    "logging.wandb.project": "wandb_project wandb.project",
    "hydra.run.dir": "logdir output_dir",
}

RENAMED = {
    name: tuple(ours for ours, names in _NAMES.items() if name in names.split())
    for name in " ".join(_NAMES.values()).split()
}
"""Other name -> ours, of which a config may have some alone: `run` is of eval.py, `resume` of train.py."""

NEEDLESS = {
    *("normalization_path", "reward_offset", "resize_image", "add_states", "instruction", "log_interval"),
    *("trust_remote_code", "headless"),
}
"""Options of other code that nothing here needs."""


def new_names(key: str, known: list[str]) -> list[str]:
    """Return the words to type in place of a key, as far as the config, with the keys `known` at its top, has them.

    Groups of other code, such as env in env.n_envs, do not exist here: the last part of the key is looked up then.
    """
    first, last = key.partition(".")[0], key.rpartition(".")[2]
    for other in (key,) if first in known else (key, last, first):
        own = (other,) if other != key and other in known else RENAMED.get(other, ())
        names = [name for name in own if name.replace("=", ".").partition(".")[0] in known]
        if names:
            return [name if "=" in name else f"{name}=…" for name in names]
    return []
