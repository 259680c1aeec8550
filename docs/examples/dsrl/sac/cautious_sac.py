"""DSRL-SAC whose value is the mean of the critics less a multiple of their disagreement.

one value of E critics    V = mean_j Q_j - caution · std_j Q_j
"""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge
from gymnasium.spaces import Box
from torch import Tensor

from dsrl.sac._networks import Actor, FeatureScaler, StackedCritics, Temperature
from dsrl.sac._noise_policy import NoisePolicy, prior_std
from dsrl.sac._options import adam
from dsrl.sac._regulariser import Divergence
from dsrl.sac._returns import RewardScale
from dsrl.sac.dsrl_sac import DSRLSAC


class CautiousSAC(DSRLSAC):
    """DSRL-SAC with another way to join its critics, in the backup and for the actor."""

    caution: float

    def _joined(self, values: Tensor) -> Tensor:
        """Returns one value [B] of those of all critics [E, B]."""
        return values.mean(0) - self.caution * values.std(0)


def build_cautious_sac(
    observation_space: Box,  # features [F]
    action_space: Box,  # the noise box [dim]; both are live spaces, so that no YAML holds a size
    *,
    hidden: int,
    num_critics: Annotated[int, Ge(2)],  # one has no deviation
    caution: float,
    gamma: float,
    learning_rate: float,
    critic_warmup_updates: int,
) -> CautiousSAC:
    """Makes the algorithm, with the temperature tuned towards a divergence of half a nat per number."""
    features, dim = observation_space.shape[0], action_space.shape[0]
    std = prior_std(float(action_space.high[0]))
    actor = Actor(features, dim, hidden, 2, "ReLU", std)
    algorithm = CautiousSAC(
        policy=NoisePolicy(actor, FeatureScaler(features), observation_space, action_space),
        critics=StackedCritics(num_critics, features, dim, hidden, 2, "ReLU"),
        temperature=Temperature(0.1, trainable=True),
        regulariser=Divergence(math.log(std), limit=0.5),
        optimisers=(adam(learning_rate), adam(learning_rate), adam(learning_rate)),
        gamma=gamma,
        tau=0.01,
        reward_scale=RewardScale("auto"),
        critic_warmup_updates=critic_warmup_updates,
    )
    algorithm.caution = caution
    return algorithm
