"""lerobot's SmolVLA as a steerable policy: encode an observation once, then denoise any noise from its prefix cache.

    images, state, instruction -> saved preprocessor -> embed_prefix -> VLM -+-> features [B, F]
                                                                             +-> context: prefix keys and values
    noise [B, T', D] + context -> Euler steps of the action expert -> saved postprocessor -> chunk [B, T, A]

The first line is lerobot's own computation, the second rearranges it (`_smolvla_expert`): a chunk equals
`predict_action_chunk(batch, noise=noise)` to rounding, 1e-6. Images become float32 in [0, 1] and all tensors move to
the policy's device here; chunks come back where the saved postprocessor puts them (lerobot: the CPU).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from lerobot.policies.common.vla_utils import make_att_2d_masks
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import ACTION, OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, Task
from dsrl.policy import _lerobot, _smolvlm
from dsrl.policy._embodiment import check_features, image_keys, read_embodiment
from dsrl.policy._find import PREPROCESSOR, find_backbone, find_checkpoint
from dsrl.policy._graph import Replayed, recorder
from dsrl.policy._linear import speed_up_linear_layers
from dsrl.policy._smolvla_expert import Expert
from dsrl.policy._statistics import check_statistics
from dsrl.policy._weights import Device, choose_device, weights_sha256

Dtype = Literal["checkpoint", "float32", "bfloat16"]
POLICY_TYPE = "smolvla"


class SmolVLA:
    """A frozen SmolVLA, loaded once for any number of worlds.

    Args:
        path: a bundled policy's name, the folder of a lerobot checkpoint, or a hub id.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        dtype: `checkpoint` computes in the types that the weights are stored in, as lerobot does; `float32` casts all
            weights to it; `bfloat16` casts those of the VLM and the expert, which is faster and moves chunks.
        camera_map: {task camera: checkpoint camera} where the two names differ; None or {} where they agree.
        num_steps: Euler steps of a denoising; None for the checkpoint's own number.

    Raises:
        FileNotFoundError, ValueError: with one sentence, if the checkpoint is damaged or does not fit the arguments.

    Features are the normalised proprioception [S], the mean of the VLM's prefix outputs [H] and its output at the
    state token [H], in the way that DSRL (arXiv 2506.15799) steers a VLA: F = S + 2 H.
    """

    def __init__(
        self,
        path: str,
        device: Device,
        dtype: Dtype,
        camera_map: Mapping[str, str] | None = None,
        num_steps: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ValueError(f"policy.dtype={dtype} is not supported; type one of {', '.join(get_args(Dtype))}")
        self.path = path
        self.device = choose_device(device)
        checkpoint = find_checkpoint(path)
        steps = _lerobot.read_steps(checkpoint, POLICY_TYPE)
        self._config = _inference_config(checkpoint, self.device, num_steps)
        self._policy = _load_policy(self._config, checkpoint)
        _cast(self._policy, dtype)
        speed_up_linear_layers(self._policy)
        self._expert = Expert(self._policy.model, self._config.num_steps)
        self._denoise = Replayed(self._expert.denoise, recorder(self.device))
        self._preprocess, self._postprocess = _load_processors(self._config, checkpoint, steps, self.device)
        tokenizer = _lerobot.processor_step(self._preprocess, "tokenizer_processor")
        self._longest_prompt = tokenizer.max_length
        _check_vocabulary(tokenizer.input_tokenizer, self._policy, checkpoint)
        self.embodiment = read_embodiment(path, self._config, self._preprocess, camera_map or {})
        self._check_statistics(checkpoint)

        hidden = self._policy.model.vlm_with_expert.config.text_config.hidden_size
        self.feature_dim: int = self.embodiment.state_dim + 2 * hidden
        self.noise_shape: tuple[int, int] = (self._config.chunk_size, self._config.max_action_dim)
        self.chunk_shape: tuple[int, int] = (self._config.chunk_size, self.embodiment.action_dim)
        with _lerobot.one_sentence(f"policy.path={path} cannot be run by the installed lerobot"):
            drift, steer = self._measure_steering()
        if not (steer > 0 and drift <= 1e-3 * steer):
            raise ValueError(
                f"policy.path={path} cannot be steered: the same noise moves its chunk by {drift:.2g}, another "
                f"noise by {steer:.2g}; choose a checkpoint whose actions depend on the initial noise alone"
            )

    @torch.no_grad()
    def encode(self, observation: Observation) -> Encoding:
        """Encode once per decision: the only pass over images and language.

        The context is the prefix as the action expert's layers see it: `prefix_keys` and `prefix_values` [B, layers,
        heads, L, head_dim], `pad_masks` [B, L] bool, with the same L for every instruction.

        Raises:
            ValueError: if the observation lacks a camera, or its state or images are not what the checkpoint takes.
        """
        batch = self._preprocess(self.embodiment.as_batch(observation, self.device))
        proprioception = batch[OBS_STATE].float().clone()  # the next line may write into the state
        prefix = self._prefill(self._policy._prepare_batch(batch))
        kept = prefix.pad_masks[..., None]
        pooled = (prefix.output * kept).sum(dim=1) / kept.sum(dim=1)
        features = torch.cat([proprioception, pooled, prefix.output[:, prefix.state_token]], dim=1)
        # lerobot pads to the longest prompt of a batch; padding to the longest of all lets rows of two batches mix
        room = prefix.state_token + 1 + self._longest_prompt - batch[OBS_LANGUAGE_TOKENS].shape[1]
        spare = max(0, room - prefix.pad_masks.shape[1])
        layers = prefix.cache.layers
        keys, values = self._expert.project([layer.keys for layer in layers], [layer.values for layer in layers])
        context = {
            "prefix_keys": F.pad(keys, (0, 0, 0, spare)),
            "prefix_values": F.pad(values, (0, 0, 0, spare)),
            "pad_masks": F.pad(prefix.pad_masks, (0, spare)),
        }
        return Encoding(features, context)

    @torch.no_grad()
    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Denoise [B, T', D] noise into a [B, T, A] chunk in the units of the training data.

        Deterministic and row-wise; does not change its inputs, so that one encoding can be denoised many times.

        Raises:
            ValueError: if the noise has another shape.
        """
        expected = (len(encoding.features), *self.noise_shape)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise has shape {tuple(noise.shape)} but this encoding and policy take {expected}")
        context, start = encoding.context, noise.to(self.device, torch.float32)
        actions = self._denoise(context["prefix_keys"], context["prefix_values"], context["pad_masks"], start)
        actions = actions[:, :, : self.embodiment.action_dim]
        if self._config.adapt_to_pi_aloha:
            actions = self._policy._pi_aloha_encode_actions(actions)
        chunk: Tensor = self._postprocess(actions)
        return chunk

    def check_fits(self, task: Task) -> None:
        """Compare the task's cameras, state and action with the checkpoint's; raises ValueError where they differ."""
        self.embodiment.check_fits(task)

    def policy_sha256(self) -> str:
        """Return the SHA-256 of all weights and buffers, to check that they stay frozen."""
        return weights_sha256(self._policy)

    def _prefill(self, batch: dict[str, Any]) -> Prefix:
        """Run the VLM over a preprocessed batch."""
        policy, model = self._policy, self._policy.model
        images, image_masks = policy.prepare_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        return prefill(model, images, image_masks, tokens, token_masks, policy.prepare_state(batch))

    def _check_statistics(self, checkpoint: Path) -> None:
        normaliser = _lerobot.processor_step(self._preprocess, "normalizer_processor")
        unnormaliser = _lerobot.processor_step(self._postprocess, "unnormalizer_processor")
        check_statistics(normaliser, [OBS_STATE, *image_keys(self._config)], checkpoint, inputs=True)
        check_statistics(unnormaliser, [ACTION], checkpoint, inputs=False)

    def _measure_steering(self) -> tuple[float, float]:
        """Measure how far a chunk moves under the same noise, and under another noise."""
        generator = torch.Generator().manual_seed(0)
        images = {
            camera: torch.randint(256, (1, *shape), generator=generator, dtype=torch.uint8)
            for camera, shape in self.embodiment.image_shapes.items()
        }
        encoding = self.encode(Observation(torch.zeros(1, self.embodiment.state_dim), images, ("",)))
        one, other = torch.randn(2, *self.noise_shape, generator=generator)
        chunks = self.decode(encoding[torch.zeros(3, dtype=torch.int64)], torch.stack([one, one, other]))
        drift, steer = ((chunks[0] - chunk).abs().max().item() for chunk in chunks[1:])
        return drift, steer


@dataclass(frozen=True)
class Prefix:
    """The VLM's outputs for a batch of observations."""

    output: Tensor  # [B, L, H] float32
    pad_masks: Tensor  # [B, L] bool, False for padding
    state_token: int  # index of the state's token
    cache: Any  # DynamicCache of the prefix


def prefill(
    model: Any, images: list[Tensor], image_masks: list[Tensor], tokens: Tensor, token_masks: Tensor, state: Tensor
) -> Prefix:
    """Run the first half of lerobot's `VLAFlowMatching.sample_actions`: embed the prefix and run the VLM over it.

    images: per camera float [B, 3, H, W] in [-1, 1], their masks [B]; tokens and masks [B, L]; state [B, S], padded.
    """
    embeddings, pad_masks, att_masks = model.embed_prefix(images, image_masks, tokens, token_masks, state=state)
    (output, _), cache = model.vlm_with_expert.forward(
        attention_mask=make_att_2d_masks(pad_masks, att_masks),
        position_ids=torch.cumsum(pad_masks, dim=1) - 1,
        past_key_values=None,
        inputs_embeds=[embeddings, None],
        use_cache=True,
    )
    # embed_prefix marks the state, and nothing else, as a token that the earlier ones may not see
    return Prefix(output.float(), pad_masks, int(att_masks[0].int().argmax()), cache)


def _inference_config(checkpoint: Path, device: torch.device, num_steps: int | None) -> SmolVLAConfig:
    """Read the configuration and switch off what serves training and serving alone."""
    config: SmolVLAConfig = _lerobot.read_config(checkpoint, POLICY_TYPE, device)
    check_features(config, checkpoint)
    if num_steps is not None and num_steps < 1:
        raise ValueError(f"policy.num_steps={num_steps} but denoising takes at least one Euler step")
    config.num_steps = num_steps or config.num_steps
    config.load_vlm_weights = False  # the checkpoint holds them all
    config.use_cache = True  # without a cache lerobot cannot sample; with one the numbers are the same
    config.compile_model = False
    config.rtc_config = None  # real-time chunking needs the last chunk, but policies here have no memory
    return config


def _load_policy(config: SmolVLAConfig, checkpoint: Path) -> Any:
    """Load lerobot's policy with the checkpoint's weights on the configured device."""
    backbone = find_backbone(config.vlm_model_name, checkpoint)
    root = checkpoint if backbone.is_relative_to(checkpoint) else backbone
    _smolvlm.check_lengths(_smolvlm.read_backbone(backbone, root), config, checkpoint)
    with _smolvlm.clean_backbone(backbone, root) as clean:
        config.vlm_model_name = str(clean)
        policy = _lerobot.load_weights(lambda: SmolVLAPolicy(config), checkpoint, POLICY_TYPE)
    config.vlm_model_name = str(backbone)
    return policy.to(config.device)


def _cast(policy: Any, dtype: Dtype) -> None:
    """Cast all weights to float32, or those of both towers to bfloat16; states and actions enter in float32."""
    if dtype == "float32":
        policy.float()
    elif dtype == "bfloat16":
        policy.model.vlm_with_expert.bfloat16()


def _load_processors(config: SmolVLAConfig, checkpoint: Path, steps: Any, device: torch.device) -> tuple[Any, Any]:
    """Load the saved pre- and post-processor with the tokenizer that the checkpoint names."""
    name = steps[PREPROCESSOR]["tokenizer_processor"]["config"].get("tokenizer_name", config.vlm_model_name)
    tokenizer = find_backbone(name, checkpoint)
    root = checkpoint if tokenizer.is_relative_to(checkpoint) else tokenizer
    with _smolvlm.clean_backbone(tokenizer, root) as clean:
        names = {"tokenizer_processor": {"tokenizer_name": str(clean)}}
        return _lerobot.load_processors(config, checkpoint, steps, names, device)


def _check_vocabulary(tokenizer: Any, policy: Any, checkpoint: Path) -> None:
    """Compare the tokenizer with the backbone's embeddings; raises ValueError for a token that has none."""
    known = policy.model.vlm_with_expert.get_vlm_model().text_model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= known:
        raise ValueError(
            f"{checkpoint} has a tokenizer with the token {largest} but a backbone of {known} tokens; copy the "
            "tokenizer that it was trained with"
        )
