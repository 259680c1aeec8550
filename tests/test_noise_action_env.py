"""NoiseActionEnv on a task that can be counted by hand: seed s ends at step s % 10, or is truncated at step 6."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from toys.countdown import HOLD, CountdownTask, EchoPolicy, RestorableCountdown

from dsrl.interfaces import Encoding, Observation
from dsrl.noise.full import FullNoise
from dsrl.noise.space import NoiseSpace
from dsrl.noise_action_env import FIRST_DRAWN_SEED, NoiseActionEnv


def make_env(
    num_envs: int = 3,
    horizon: int = 4,
    policy: EchoPolicy | None = None,
    task: type[CountdownTask] = CountdownTask,
) -> NoiseActionEnv:
    policy = policy or EchoPolicy()
    return NoiseActionEnv(task(num_envs), policy, FullNoise(policy.noise_shape, 1.5, None), horizon)


def ones(num: int) -> np.ndarray:
    return np.ones((num, 8), np.float32)


def test_chunk_rewards_are_summed_up_to_each_worlds_own_end():
    env = make_env()
    env.reset(seeds=[2, 3, 9])
    features, reward, terminated, truncated, info = env.step(ones(3), np.arange(3))
    np.testing.assert_array_equal(reward, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(terminated, [True, True, False])
    np.testing.assert_array_equal(truncated, [False, False, False])
    assert [one["env_steps"] for one in info] == [2, 3, 4]
    assert [one["success"] for one in info] == [True, True, False]
    assert [one["seed"] for one in info] == [2, 3, 9]
    np.testing.assert_array_equal(features[2], [9.0, 4.0])
    assert features.dtype == reward.dtype == np.float32


def test_worlds_that_have_ended_hold_still_for_the_rest_of_the_chunk():
    env = make_env()
    env.reset(seeds=[2, 3, 9])
    env.step(ones(3), np.arange(3))
    held = [(actions[:, 0] == HOLD).tolist() for actions in env.task.actions]
    assert held == [[False, False, False], [False, False, False], [True, False, False], [True, True, False]]


def test_worlds_that_a_call_does_not_name_are_parked():
    env = make_env()
    env.reset(seeds=[9, 9, 9])
    _, reward, *_ = env.step(ones(1), [1])
    assert reward.shape == (1,)
    assert all(actions[[0, 2]].eq(HOLD).all() for actions in env.task.actions)
    assert env.task.taken.tolist() == [0, 4, 0]


def test_a_truncated_world_shows_its_last_observation_and_the_rest_of_the_chunk_is_not_played():
    env = make_env(num_envs=1)
    env.reset(seeds=[9])
    env.step(ones(1))
    features, reward, terminated, truncated, info = env.step(ones(1))
    np.testing.assert_array_equal(features, [[9.0, 6.0]])
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])
    assert reward.tolist() == [2 * (1.0 + 4.0)]  # the policy adds the 4 steps taken so far
    assert info[0]["env_steps"] == 2
    assert len(env.task.actions) == 6


def test_a_world_that_is_won_on_its_last_step_is_terminated_not_truncated():
    env = make_env(num_envs=1)
    env.reset(seeds=[6])
    env.step(ones(1))
    _, _, terminated, truncated, _ = env.step(ones(1))
    assert (terminated.tolist(), truncated.tolist()) == ([True], [False])


def test_nothing_is_observed_when_all_worlds_have_terminated():
    env = make_env()
    env.reset(seeds=[1, 2, 3])
    env.step(ones(3))
    assert env.task.num_observed == 1


def test_evaluation_can_leave_truncated_worlds_unobserved():
    env = make_env(num_envs=1)
    env.reset(seeds=[9])
    env.step(ones(1))
    outcome = env.decide(torch.ones(1, 4, 2), torch.arange(1), observe_truncated=False)
    assert outcome.truncated.all()
    assert env.task.num_observed == 2


def test_a_partial_reset_leaves_the_other_worlds_alone():
    env = make_env()
    env.reset(seeds=[2, 9, 9])
    env.step(ones(3))
    features, _ = env.reset([0], seeds=[5])
    np.testing.assert_array_equal(features, [[5.0, 0.0]])
    assert env.task.taken.tolist() == [0, 4, 4]
    _, reward, *_ = env.step(ones(2), [2, 0])  # in the caller's order: world 2 has taken 4 steps, world 0 none
    np.testing.assert_array_equal(reward, [2 * 5.0, 4.0])


def test_a_permuted_full_reset_keeps_row_and_world_together():
    env = make_env()
    features, _ = env.reset([2, 0, 1], seeds=[22, 20, 21])
    np.testing.assert_array_equal(features[:, 0], [22.0, 20.0, 21.0])
    np.testing.assert_array_equal(env.encoding.features[:, 0], [20.0, 21.0, 22.0])


def test_the_first_reset_may_be_partial():
    env = make_env()
    features, _ = env.reset([1], seeds=[8])
    np.testing.assert_array_equal(features, [[8.0, 0.0]])
    assert env.step(ones(1), [1])[1].tolist() == [4.0]


def test_drawn_seeds_repeat_with_the_env_seed_and_stay_clear_of_small_ones():
    env = make_env()
    env.seed(3)
    first = [one["seed"] for _ in range(2) for one in env.reset()[1]]
    env.seed(3)
    assert [one["seed"] for _ in range(2) for one in env.reset()[1]] == first
    assert min(first) >= FIRST_DRAWN_SEED
    assert len(set(first)) == 6


def test_the_noise_space_samples_the_clipped_prior():
    space = NoiseSpace(dim=20000, magnitude=1.5)
    space.seed(0)
    sample = space.sample()
    assert space.contains(sample)
    expected = np.clip(np.random.default_rng(5).standard_normal(200000), -1.5, 1.5)
    assert abs(sample.std() - expected.std()) < 0.02
    assert (np.abs(sample) == 1.5).mean() == pytest.approx(0.1336, abs=0.01)


def test_stepping_a_world_that_has_ended_is_an_error():
    env = make_env()
    with pytest.raises(ValueError, match=r"worlds \[0, 1, 2\] have ended; reset them"):
        env.step(ones(3))
    env.reset(seeds=[2, 9, 9])
    env.step(ones(3))
    with pytest.raises(ValueError, match=r"worlds \[0\] have ended; reset them"):
        env.step(ones(3))


def test_parts_that_do_not_fit_are_refused_before_anything_moves():
    with pytest.raises(ValueError, match="horizon=5 must be between 1 and 4: the policy's chunks have 4 actions"):
        make_env(horizon=5)
    policy = EchoPolicy()
    policy.chunk_shape = (4, 7)
    with pytest.raises(ValueError, match="policy emits 7-dim actions but the task takes 2; choose"):
        make_env(policy=policy)
    with pytest.raises(ValueError, match=r"noise expands to \(3, 2\) but the sampler takes \(4, 2\)"):
        NoiseActionEnv(CountdownTask(1), EchoPolicy(), FullNoise((3, 2), 1.0, None), 4)
    with pytest.raises(ValueError, match="2 seeds were given for 3 worlds"):
        make_env().reset(seeds=[1, 2])


class PolicyWithoutWorld21(EchoPolicy):
    """Encodes world 21 to NaN."""

    def encode(self, observation):
        state = observation.state.clone()
        state[state[:, 0] == 21] = float("nan")
        return Encoding(state, {})


class OverflowingPolicy(EchoPolicy):
    """Too large for float32 where noise is 1."""

    def decode(self, encoding, noise):
        return torch.exp(100 * noise)


def test_numbers_that_are_not_finite_name_the_world_and_the_quantity():
    with pytest.raises(FloatingPointError, match=r"features of world \[1\] is not finite"):
        make_env(policy=PolicyWithoutWorld21()).reset(seeds=[20, 21, 22])
    env = make_env()
    env.reset(seeds=[8, 8, 8])
    noise = torch.zeros(3, 4, 2)
    noise[2, 0, 0] = torch.inf
    with pytest.raises(
        FloatingPointError, match=r"noise of world \[2\] is not finite; the actor has diverged, so lower"
    ):
        env.decide(noise, torch.arange(3))
    env = make_env(policy=OverflowingPolicy())
    env.reset(seeds=[8, 8, 8])
    with pytest.raises(FloatingPointError, match=r"chunk of world \[2\] is not finite; check the task's state"):
        env.decide(torch.tensor([0.0, 1.0])[:, None, None].expand(2, 4, 2), torch.tensor([1, 2]))


class CountdownWithNaN(CountdownTask):
    """Rewards the second step in world 25 with NaN."""

    def step(self, action):
        step = super().step(action)
        step.reward[(self.seed == 25) & (self.taken == 2)] = float("nan")
        return step


def test_a_reward_that_is_not_finite_names_its_world():
    env = make_env(task=CountdownWithNaN)
    env.reset(seeds=[28, 25, 29])
    env.step(ones(2), [0, 2])
    env.reset(seeds=[28, 29, 25])
    with pytest.raises(
        FloatingPointError, match=r"reward of world \[2\] is not finite; check the reward of the task's"
    ):
        env.step(ones(3))


class UnevenPolicy(EchoPolicy):
    """Pads its context to the batch."""

    def encode(self, observation):
        num, encoding = len(observation.state), super().encode(observation)
        return Encoding(encoding.features, {**encoding.context, "prefix": torch.zeros(num, num)})


def test_a_context_whose_rows_change_shape_is_refused():
    env = make_env(policy=UnevenPolicy())
    env.reset(seeds=[1, 2, 3])
    with pytest.raises(ValueError, match=r"'prefix' has rows of shape \(1,\) now but \(3,\) before"):
        env.reset([0], seeds=[1])


def test_decide_returns_torch_rows_in_the_order_of_its_worlds():
    env = make_env()
    env.reset_worlds(torch.arange(3), [2, 9, 3])
    outcome = env.decide(torch.ones(2, 4, 2), torch.tensor([2, 0]))
    assert outcome.reward.tolist() == [3.0, 2.0]
    assert outcome.terminated.tolist() == outcome.success.tolist() == [True, True]
    assert outcome.truncated.tolist() == [False, False]
    assert outcome.env_steps.tolist() == [3, 2]
    assert env.ended.tolist() == [True, False, True]


def test_a_decision_holds_both_states_of_its_worlds_and_a_terminated_one_stays_where_it_was():
    env = make_env()
    env.reset_worlds(torch.arange(3), [2, 9, 8])
    env.decide(torch.ones(2, 4, 2), torch.tensor([1, 0]))
    decision = env.decision
    assert decision.chunk.shape == (2, 4, 2)
    assert decision.before.features.tolist() == decision.observed_before.state.tolist() == [[9.0, 0.0], [2.0, 0.0]]
    assert decision.after.features.tolist() == [[9.0, 4.0], [2.0, 0.0]]
    assert decision.after.context["taken"].tolist() == [4.0, 0.0]
    assert decision.observed_after.state.tolist() == [[9.0, 4.0], [2.0, 0.0]]


def test_reencoding_an_observation_decodes_as_its_encoding_does():
    env = make_env(horizon=3)
    env.reset(seeds=[7, 8, 9])
    env.step(ones(3))
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    chunk = env.reencode(env.observed, vectors)
    assert torch.equal(chunk, env.decode(env.encoding, vectors))
    assert torch.equal(chunk, (vectors.view(3, 4, 2) + 3.0)[:, :3])
    many = Observation(env.observed.state.repeat(50, 1), {}, ("",) * 150)  # more than are encoded at once
    assert torch.equal(env.reencode(many, vectors.repeat(50, 1)), chunk.repeat(50, 1, 1))


class UnexposedCountdown(CountdownTask):
    """A countdown whose environment does not expose its state."""

    def state_dict(self):
        return None

    def load_state_dict(self, state):
        raise AssertionError("there is no state to restore")


def play_on(env: NoiseActionEnv) -> list:
    """Play a decision of random noise in all worlds and return all that it gives, then the next random numbers."""
    vectors = torch.as_tensor(np.stack([env.action_space.sample() for _ in range(3)]))
    outcome = env.decide(env.noise.expand(vectors), torch.arange(3))
    numbers = [getattr(outcome, name).tolist() for name in outcome.__dataclass_fields__]
    states = [env.encoding.features.tolist(), env.encoding.context["taken"].tolist(), env.observed.state.tolist()]
    return [vectors.tolist(), *numbers, *states, env.seeds.tolist(), env.draw_seeds(4)]


def test_fresh_worlds_are_saved_as_their_seeds_and_continue_to_the_last_bit_in_another_environment():
    env, other = make_env(), make_env()
    env.seed(3)
    env.reset()
    env.action_space.sample()
    state = env.state_dict()
    assert state["worlds"] == {"seeds": env.seeds.tolist(), "task": None}
    assert other.load_state_dict(deepcopy(state))
    assert torch.equal(other.encoding.features, env.encoding.features)
    assert play_on(other) == play_on(env)


def test_restorable_worlds_in_mid_episode_continue_to_the_last_bit_in_another_environment():
    env, other = make_env(task=RestorableCountdown), make_env(task=RestorableCountdown)
    env.seed(3)
    env.reset(seeds=[9, 8, 2])
    env.step(ones(3))
    env.reset([2], seeds=[7])
    state = deepcopy(env.state_dict())
    other.seed(4)
    assert other.load_state_dict(state)
    assert other.encoding.features.tolist() == [[9.0, 4.0], [8.0, 4.0], [7.0, 0.0]]
    assert other.observed.state.tolist() == other.encoding.features.tolist()
    assert other.observed.instruction == env.observed.instruction
    assert other.state_dict()["worlds"]["seeds"] == [9, 8, 7]
    assert play_on(other) == play_on(env)


def test_a_saved_state_does_not_change_with_further_play():
    env = make_env(task=RestorableCountdown)
    env.reset(seeds=[9, 8, 7])
    env.step(ones(3))
    state = env.state_dict()
    before = deepcopy(state)
    play_on(env)
    env.reset([0])
    assert state["random"] == before["random"]
    assert state["worlds"]["seeds"] == before["worlds"]["seeds"]
    for name, value in before["worlds"]["task"].items():
        assert torch.equal(state["worlds"]["task"][name], value)
    assert torch.equal(state["worlds"]["features"], before["worlds"]["features"])
    assert torch.equal(state["worlds"]["context"]["taken"], before["worlds"]["context"]["taken"])
    assert torch.equal(state["worlds"]["observed"][0], before["worlds"]["observed"][0])


@pytest.mark.parametrize("task", [CountdownTask, UnexposedCountdown])
def test_worlds_that_cannot_be_saved_in_mid_episode_continue_in_new_episodes_of_the_same_stream(task):
    env, other = make_env(task=task), make_env(task=task)
    env.seed(3)
    env.reset()
    env.step(ones(3))
    state = deepcopy(env.state_dict())
    assert state["worlds"] is None
    assert not other.load_state_dict(state)
    assert other.seeds.tolist() == env.draw_seeds(3)
    assert other.task.taken.tolist() == [0, 0, 0]
    assert other.action_space.sample().tolist() == env.action_space.sample().tolist()
    assert other.draw_seeds(2) == env.draw_seeds(2)
