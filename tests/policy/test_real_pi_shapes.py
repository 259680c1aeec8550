"""The real π0 and π0.5 have the layers that dsrl encodes and decodes by, seen without their 7 GB of memory."""

from __future__ import annotations

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from toys.tiny_pi import CLASSES


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_the_real_sizes_have_the_caches_and_projections_that_are_stored(kind: str) -> None:
    configuration, policy, _ = CLASSES[kind]
    features = {
        "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
        "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 224, 224)),
    }
    with torch.device("meta"):
        config = configuration(input_features=features, device="cpu")
        config.device = "meta"
        model = policy(config).model
    backbone = model.paligemma_with_expert
    layers = backbone.paligemma.model.language_model.layers
    assert 3e9 < sum(weight.numel() for weight in model.parameters()) < 4.5e9  # with the words of both Gemmas
    assert len(layers) == len(backbone.gemma_expert.model.layers) == 18
    for layer in (*layers, *backbone.gemma_expert.model.layers):  # prefix and suffix share keys and values: [1, 256]
        assert layer.self_attn.k_proj.out_features == layer.self_attn.v_proj.out_features == 256
    assert model.action_in_proj.in_features == model.action_out_proj.out_features == config.max_action_dim == 32
    assert backbone.paligemma.model.multi_modal_projector.linear.out_features == layers[0].hidden_size == 2048
