"""The format of transitions in replay: the data of states, their memory, and that they decode as in play."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from toys.algorithms import build_algorithm
from toys.commands import CONF
from toys.countdown import CountdownTask, EchoPolicy
from toys.monitor import Recording
from toys.replay import played, stored_context

from dsrl.available_memory import available_memory
from dsrl.interfaces import Encoding, Observation
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.build import build, check_budget
from dsrl.run.terminal.errors import UserError
from dsrl.training.replay_format import ReplayDecoder, observation_from, observation_tensors, stored_arrays
from dsrl.training.replay_memory import buffer_length, check_stored, checked_replay_bytes, replay_bytes
from dsrl.training.trainer import Trainer


class Heavy(EchoPolicy):
    """Has a context worth halving."""

    def encode(self, observation):
        encoding = super().encode(observation)
        cache = torch.full((len(encoding.features), 2, 1024), 0.1)
        return Encoding(encoding.features, {**encoding.context, "cache": cache})


def make_env(policy=None, num_envs=3, horizon=3, magnitude=1.5):
    policy = policy or EchoPolicy()
    return NoiseActionEnv(CountdownTask(num_envs), policy, FullNoise(policy.noise_shape, magnitude, None), horizon)


def test_replay_stores_u_the_executed_chunk_and_the_contexts_before_and_after():
    env = make_env(magnitude=1.5)
    buffer = played(env)
    noise = 1.5 * buffer.act.reshape(-1, 4, 2)
    expected = (noise + buffer.obs[:, 1, None, None])[:, :3]
    np.testing.assert_allclose(buffer.info.chunk, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(buffer.info.before.stored_taken, buffer.obs[:, 1])
    continuing = ~buffer.terminated
    np.testing.assert_array_equal(buffer.info.after.stored_taken[continuing], buffer.obs_next[continuing][:, 1])
    assert buffer.truncated.any()
    assert buffer.terminated.any()


def test_replayed_states_decode_to_the_chunks_that_were_executed():
    env = make_env(Heavy())
    buffer = played(env)
    context = stored_context(buffer)
    assert context["cache"].dtype == torch.float16
    vectors, features = torch.as_tensor(1.5 * buffer.act), torch.as_tensor(buffer.obs)
    chunk = env.decode(Encoding(features, context), vectors)
    np.testing.assert_allclose(chunk, buffer.info.chunk, rtol=1e-6, atol=1e-6)
    replayed = ReplayDecoder(env, "context").decode_replayed(features, buffer.info, "before", slice(None), vectors)
    assert torch.equal(replayed, chunk)
    rows = np.flatnonzero(~buffer.terminated)[:5]
    after = ReplayDecoder(env, "context").decode_replayed(features[rows], buffer.info, "after", rows, vectors[rows])
    expected = vectors[rows].view(-1, 4, 2) + torch.as_tensor(buffer.obs_next[rows][:, 1])[:, None, None]
    assert torch.equal(after, expected[:, :3])


def test_a_policy_without_a_context_is_replayed_by_its_features():
    class Contextless(EchoPolicy):
        def encode(self, observation):
            return Encoding(observation.state, {})

        def decode(self, encoding, noise):
            return noise + encoding.features[:, 1, None, None]

    env = make_env(Contextless())
    buffer = played(env)
    assert set(buffer.info.get_keys()) == {"chunk", "env_steps", "seed", "success"}
    vectors, features = torch.as_tensor(1.5 * buffer.act), torch.as_tensor(buffer.obs)
    replayed = ReplayDecoder(env, "context").decode_replayed(features, buffer.info, "before", slice(None), vectors)
    np.testing.assert_allclose(replayed, buffer.info.chunk, rtol=1e-6, atol=1e-6)


def test_a_context_returns_to_the_policys_precision_before_it_is_decoded():
    precisions = {}

    class Watching(Heavy):
        def decode(self, encoding, noise):
            precisions.update({key: value.dtype for key, value in encoding.context.items()})
            return super().decode(encoding, noise)

    env = make_env(Watching())
    env.reset(seeds=[7, 8, 9])
    arrays = stored_arrays(env.encoding, env.observed, "context")
    assert arrays["cache"].dtype == np.float16
    halved = {key: torch.as_tensor(value) for key, value in arrays.items()}
    env.decode(Encoding(env.encoding.features, halved), torch.zeros(3, 8))
    assert precisions == {"taken": torch.float32, "cache": torch.float32}


def test_only_large_floating_tensors_are_halved_and_only_on_request():
    blank = Observation(torch.zeros(2, 1), {}, ("", ""))

    def arrays(replay, **context):
        return stored_arrays(Encoding(torch.zeros(2, 1), context), blank, replay)

    context = {"small": torch.ones(2, 8), "large": torch.ones(2, 2048), "mask": torch.ones(2, 2048, dtype=torch.bool)}
    assert {key: str(array.dtype) for key, array in arrays("context", **context).items()} == {
        "small": "float32",
        "large": "float16",
        "mask": "bool",
    }
    assert arrays("exact_context", **context)["large"].dtype == np.float32
    with pytest.raises(FloatingPointError, match=r"context 'large' has numbers .* choose sac.replay=exact_context"):
        arrays("context", large=torch.full((2, 2048), 1e6))


def test_an_observation_is_restored_from_its_tensors():
    state = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    pictures = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    observation = Observation(state, {"front": pictures}, ("put the cube into the box", "köfte"))
    tensors = observation_tensors(observation)
    assert set(tensors) == {"state", "image_front", "instruction"}
    restored = observation_from(tensors)
    assert torch.equal(restored.state, state)
    assert torch.equal(restored.images["front"], pictures)
    assert restored.instruction == observation.instruction
    with pytest.raises(ValueError, match=r"instruction of 300 bytes exceeds the 256 .* choose sac.replay=context"):
        observation_tensors(Observation(state, {}, ("", "x" * 300)))


def test_the_memory_of_replay_is_computed_before_anything_is_simulated():
    env = make_env(Heavy())
    taken = replay_bytes(env, "context", 100)
    apart = 4 * 2 * (3 + 100 // env.longest_episode)  # of the latest rows, and of episodes that run out of time
    assert env.longest_episode == 2
    assert taken == 100 * (4 * (2 + 8 + 8 + 3 * 2) + 2 * (4 + 2 * 2048)) + apart
    assert replay_bytes(env, "exact_context", 100) - taken == 100 * 2 * 2 * 2048
    drawn = 3 * (8 + 3 * 2)
    assert replay_bytes(env, "chunks", 100, draws=3) == 100 * 4 * (2 + 8 + 8 + 3 * 2 + drawn) + apart
    assert replay_bytes(env, "noise", 100) == 100 * 4 * (2 + 8 + 8) + apart
    assert replay_bytes(env, "observation", 100) == 100 * (4 * (2 + 8 + 8 + 3 * 2) + 2 * (4 * 2 + 256)) + apart
    assert env.encoding is None
    assert env.task.num_observed == 0


def test_replay_that_cannot_fit_is_refused_with_what_would():
    env = make_env(Heavy())
    assert checked_replay_bytes(env, "context", 10) == replay_bytes(env, "context", 10)
    message = (
        r"replay of 1000000 transitions takes 7\.\d GiB but 1\.0 GiB are free; choose a buffer_size .* below 12\d{4}, "
        r"sac.replay=observation \(0\.6 GiB\), or sac=dsrl_sac, which stores no states"
    )
    with pytest.raises(ValueError, match=message):
        checked_replay_bytes(env, "context", 1_000_000, available=2**30)
    with pytest.raises(ValueError, match=r"below \d+, or sac=dsrl_sac, which stores no states"):
        checked_replay_bytes(env, "observation", 10_000_000, available=2**30)
    assert 2**20 < available_memory() < 2**50


@pytest.mark.parametrize(
    ("folder", "limit", "used", "cached"),
    [
        (".", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_files_that_the_kernel_has_cached_count_as_free_memory_of_a_container(tmp_path, folder, limit, used, cached):
    group = tmp_path / folder
    group.mkdir(exist_ok=True)
    (group / limit).write_text(f"{10 * 2**20}\n")
    (group / used).write_text(f"{8 * 2**20}\n")
    assert available_memory(tmp_path) == 2 * 2**20
    (group / "memory.stat").write_text(f"anon 5\n{cached} {3 * 2**20}\nactive_file 7\n")
    assert available_memory(tmp_path) == 5 * 2**20
    (group / "memory.stat").write_text("anon 5\n")
    assert available_memory(tmp_path) == 2 * 2**20
    (group / used).write_text(f"{11 * 2**20}\n")
    assert available_memory(tmp_path) == 0
    (group / limit).write_text(f"{2**63 - 4096}\n" if folder == "memory" else "max\n")
    assert available_memory(tmp_path) > 2**20


@pytest.mark.parametrize(
    ("folder", "own", "limit", "used"),
    [
        (".", "0::/job_7/step_0/task_0", "memory.max", "memory.current"),
        ("memory", "4:memory:/job_7/step_0\n0::/", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_the_smallest_limit_around_a_process_counts(tmp_path, folder, own, limit, used):
    (tmp_path / "own").write_text(f"1:cpu:/other\n{own}\n")
    for path, size in ((".", 2**30), ("job_7", 10 * 2**20), ("job_7/step_0", 2**32), ("job_8", 0)):
        group = tmp_path / folder / path
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{size}\n")
        (group / used).write_text(f"{2**20}\n")
    assert available_memory(tmp_path, tmp_path / "own") == 9 * 2**20


@pytest.mark.parametrize(
    ("targets", "stored", "less"), [("decoded", "states", ""), ("distilled", "chunks", "fewer sac.base_draws, ")]
)
def test_dsrl_na_is_built_from_its_yaml_and_its_replay_announced_or_refused(monkeypatch, targets, stored, less):
    typed = [
        "task=pendulum",
        "sac=dsrl_na",
        f"sac.targets={targets}",
        "num_envs=2",
        "decisions=1000",
        "warmup_decisions=400",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parts = build(compose("train", typed), print)
    announced: list[str] = []
    check_budget(parts, announced.append)
    assert announced == [f"replay stores {stored}: up to 0.00 GiB for 1000 transitions"]
    monkeypatch.setattr("dsrl.training.replay_memory.available_memory", lambda: 1000)
    with pytest.raises(UserError, match=rf"replay of 1000 transitions takes .*below \d+, {less}or sac=dsrl_sac"):
        check_budget(parts, print)


def test_a_stored_replay_of_more_bytes_than_a_run_can_have_is_refused():
    env = make_env()
    rows = {"obs": torch.zeros(12, env.policy.feature_dim), "act": torch.zeros(12, env.noise.dim)}
    check_stored({"rows": rows}, env, "noise", 12)
    sparse = torch.zeros(1).expand(12, 10**9)
    with pytest.raises(ValueError, match="replay takes 45776 MiB, but that of this run 64 MiB at most"):
        check_stored({"rows": {**rows, "info": {"seed": sparse}}}, env, "noise", 12)


def test_a_short_run_gets_a_short_buffer():
    assert buffer_length(200_000, decisions=100, num_envs=16) == 112
    assert buffer_length(64, decisions=100, num_envs=16) == 64


@pytest.mark.parametrize("options", [{}, {"base_draws": 3, "targets": "distilled"}])
def test_the_training_loop_feeds_dsrl_na_and_a_seed_decides_everything(options):
    def run():
        env, monitor = make_env(Heavy()), Recording()
        algorithm = build_algorithm("dsrl_na", env, critic_warmup_updates=2, **options)
        budget = {"decisions": 30, "warmup_decisions": 12, "utd": 0.5, "batch_size": 8, "buffer_size": 300}
        counters = Trainer(env, algorithm, monitor, **budget, eval_every=30, seed=0).train()
        return algorithm, counters, monitor.logged

    (first, counters, logged), (second, *same) = run(), run()
    rounds_that_learn = sum(int((i + 1) * 3 * 0.5) > int(i * 3 * 0.5) for i in range(6))
    assert counters.gradient_steps == 2 + 2 + int(0.5 * 18) + 2 * rounds_that_learn
    assert any("learn/distillation_loss" in metrics and "learn/critic_loss" in metrics for metrics, _ in logged)
    assert same == [counters, logged]
    states = first.policy.state_dict(), second.policy.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_stored_draws_are_chunks_of_base_noise_at_the_state_before_and_replace_its_context() -> None:
    env = make_env()
    torch.manual_seed(3)
    buffer = played(env, draws=4)
    assert "before" not in buffer.info
    assert buffer.info.draws.shape == (12, 4, env.noise.dim)
    assert env.decision is not None
    latest = buffer.info[buffer.last_index]
    vectors = torch.as_tensor(latest.draws).flatten(0, 1)
    decoded = env.decode(env.decision.before[torch.arange(len(env)).repeat_interleave(4)], vectors)
    torch.testing.assert_close(torch.as_tensor(latest.draw_chunks).flatten(0, 1), decoded)
    assert len(torch.unique(vectors, dim=0)) == len(vectors)
    stored = sum(array.nbytes for array in (latest.draws[0], latest.draw_chunks[0]))
    context = stored_arrays(env.decision.after[:1], env.decision.observed_after, "context")
    saved = sum(array.nbytes for array in context.values())
    assert replay_bytes(env, "context", 1, draws=4) == replay_bytes(env, "context", 1) + stored - saved


def test_an_episode_that_a_reset_cuts_ends_as_by_a_time_out() -> None:
    env = make_env()
    buffer = played(env, 6)
    buffer.terminated[:] = buffer.truncated[:] = buffer.done[:] = False
    buffer.cut_episodes()
    assert buffer.done[buffer.last_index].all()
    assert buffer.truncated[buffer.last_index].all()
    assert not buffer.terminated.any()
    assert buffer.done.sum() == len(env)
    np.testing.assert_array_equal(buffer.next(buffer.last_index), buffer.last_index)
