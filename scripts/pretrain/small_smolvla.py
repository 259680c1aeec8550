"""Builds a SmolVLA of under two million parameters: lerobot's own class over a tiny SmolVLM, with random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

IMAGE_SIZE = 96  # pixels, square
CHUNK = 8  # control steps
VOCABULARY = "pick up put place the red green blue cube into box and in it a"
PATCH = 12  # pixels, of a patch; two by two of them become a token


def make_small_smolvla(folder: Path, cameras: tuple[str, ...], state_dim: int, action_dim: int) -> Any:
    """Return a randomly initialised, trainable SmolVLAPolicy; its VLM's configuration is written to `folder`/vlm."""
    from lerobot.configs import FeatureType, PolicyFeature

    images = {f"observation.images.{name}": (FeatureType.VISUAL, (3, IMAGE_SIZE, IMAGE_SIZE)) for name in cameras}
    numbers = {"observation.state": (FeatureType.STATE, (state_dim,)), "action": (FeatureType.ACTION, (action_dim,))}
    features = {key: PolicyFeature(*feature) for key, feature in {**numbers, **images}.items()}
    return small_smolvla(folder, features, VOCABULARY.split(), CHUNK, longest=12)


def small_smolvla(
    folder: Path, features: Mapping[str, Any], vocabulary: Sequence[str], chunk: int, longest: int
) -> Any:
    """Return a randomly initialised, trainable SmolVLAPolicy for lerobot's `features` of state, cameras and action.

    Images are resized to IMAGE_SIZE; `vocabulary` has the words of all instructions, `longest` the most tokens of one.
    """
    from lerobot.configs import FeatureType
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    from dsrl.policy._tiny_vlm import write_tiny_vlm

    vlm = write_tiny_vlm(
        folder / "vlm", vocabulary=vocabulary, hidden_size=96, head_dim=32, num_layers=4,
        image_size=IMAGE_SIZE, patch_size=PATCH, vision_hidden_size=96, vision_layers=3, scale_factor=2,
    )  # fmt: skip
    outputs = {key: feature for key, feature in features.items() if feature.type is FeatureType.ACTION}
    config = SmolVLAConfig(
        input_features={key: feature for key, feature in features.items() if key not in outputs},
        output_features=outputs,
        vlm_model_name=str(vlm), load_vlm_weights=False, resize_imgs_with_padding=(IMAGE_SIZE, IMAGE_SIZE),
        chunk_size=chunk, n_action_steps=chunk, max_state_dim=features["observation.state"].shape[0],
        max_action_dim=features["action"].shape[0],
        num_steps=5, num_vlm_layers=4, num_expert_layers=4, expert_width_multiplier=1.0, tokenizer_max_length=longest,
        freeze_vision_encoder=False, train_expert_only=False, device="cpu",
    )  # fmt: skip
    return SmolVLAPolicy(config)


def state_token_values(policy: Any, images: list[Tensor], tokens: Tensor, masks: Tensor, state: Tensor) -> Tensor:
    """Return the cached values of the state token in the last VLM layer [B, hidden], which the action expert reads.

    images: per camera float [B, 3, H, W] in [-1, 1]; tokens, masks [B, L]; state [B, S].
    """
    from scripts._stock_prefix import prefill

    present = tokens.new_ones(len(tokens)).bool()
    prefix = prefill(policy.model, images, [present] * len(images), tokens, masks, state)
    values: Tensor = prefix.cache.layers[-1].values[:, :, prefix.state_token]
    return values.flatten(1)


class PointingHead(nn.Module):
    """Predicts table coordinates from the state token: of the named cube and, as an auxiliary target, of all cubes."""

    def __init__(self, hidden: int, num_cubes: int) -> None:
        super().__init__()
        self.named = nn.Linear(hidden, 2)
        self.all = nn.Linear(hidden, 2 * num_cubes)
