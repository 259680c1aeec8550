"""lerobot's π0 as a steerable policy: encode an observation once, then denoise any noise from its prefix.

    images, instruction -> saved preprocessor -> embed_prefix -> PaliGemma -+-> features [B, F]
                                                                            +-> context: prefix keys and values
    noise [B, T', D] + context -> Euler steps of the action expert -> saved postprocessor -> chunk [B, T, A]

The layers are lerobot's own; `sample_actions`, which fuses the two lines, is split between them, so that a chunk equals
`predict_action_chunk(batch, noise=noise)` to rounding. π0 reads the state beside the noise, π0.5 in its prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor

from dsrl.cuda_graph import Replayed, recorder
from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot
from dsrl.policy._checkpoint_files import bound_attention
from dsrl.policy._find import PREPROCESSOR
from dsrl.policy._pi0_expert import Pi0Expert
from dsrl.policy._tokenizer import check_tokens
from dsrl.policy._vla import VlaPolicy, prefix_features
from dsrl.policy._weights import Dtype

PATCH, VISION_HEADS, HEADS = 14, 16, 8  # side of a patch in pixels; heads of SigLIP and of Gemma
READ = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
WRITTEN = "model.paligemma_with_expert.paligemma.lm_head.weight"


class Pi0(VlaPolicy):
    """A frozen π0; see `LerobotPolicy`.

    `dtype=bfloat16` casts the weights that lerobot itself holds in that type, all but those of vision and of norms.

    Features are the normalised proprioception [S], the mean of PaliGemma's prefix outputs [H] and its output at the
    last token of the prompt [H], in the way that DSRL (arXiv 2506.15799) steers a VLA: F = S + 2 H.
    """

    policy_type = "pi0"
    lerobots: Any = PI0Policy
    expert: type[Pi0Expert] = Pi0Expert
    old_names = ("time_mlp_", "action_time_mlp_")  # of weights in early checkpoints, and what they are called now
    skipped: tuple[str, ...] = ()  # beginnings of stored names that lerobot leaves out

    def _prepare(self, config: Any, checkpoint: Path, num_steps: int | None) -> None:
        patches = -(-config.image_resolution[0] // PATCH) * -(-config.image_resolution[1] // PATCH)
        images = len(config.image_features) + config.empty_cameras
        bound_attention(checkpoint, "patches of an image", patches, VISION_HEADS)
        tokens = images * patches + config.tokenizer_max_length + config.chunk_size + 1
        bound_attention(checkpoint, "tokens of a decision", tokens, HEADS)
        config.num_inference_steps = num_steps or config.num_inference_steps
        config.compile_model = config.gradient_checkpointing = False
        config.rtc_config = None  # real-time chunking needs the last chunk, but policies here have no memory

    def _load(self, config: Any, checkpoint: Path) -> Any:
        return _lerobot.load_where_built(
            config, lambda: self.lerobots(config), checkpoint, self.policy_type, self._sources
        )

    def _set_dtype(self, dtype: Dtype) -> None:
        super()._set_dtype("checkpoint" if dtype == "bfloat16" else dtype)  # not autocast: it casts in each Euler step
        towers = self._policy.model.paligemma_with_expert
        if dtype == "bfloat16":
            towers.to_bfloat16_for_selected_params()
        expert = self.expert(self._policy.model, self._config.num_inference_steps)
        device_recorder = recorder(self.device)
        self._denoised = Replayed(lambda *given: (expert.denoise(*given),), device_recorder)
        self._ran_layers = Replayed(self._layers, device_recorder)
        embed_image = towers.embed_image
        embedded = Replayed(lambda image: (embed_image(image),), device_recorder)
        towers.embed_image = lambda image: embedded(image)[0]

    def _sources(self, stored: Iterable[str]) -> dict[str, str]:
        """Map the policy's weights to those that are stored, as lerobot's own `from_pretrained` does.

        PaliGemma has one table for the words that it reads and writes, which many files hold as the written one alone.
        """
        old, new = self.old_names
        found = {}
        for name in stored:
            short = name.removeprefix("model.")
            if not name.startswith(self.skipped):
                found["model." + (new + short.removeprefix(old) if short.startswith(old) else short)] = name
        if WRITTEN in found:
            found.setdefault(READ, found[WRITTEN])
        return found

    def _processors(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        self._longest_prompt: int = steps[PREPROCESSOR]["tokenizer_processor"]["config"]["max_length"]
        return self._with_clean_tokenizer(checkpoint, steps)

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        policy, model = self._policy, self._policy.model
        images, image_masks = policy._preprocess_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK].bool()
        check_tokens(tokens, model.paligemma_with_expert.paligemma.get_input_embeddings().num_embeddings)
        embeddings, pad_masks, att_masks = model.embed_prefix(images, image_masks, tokens, token_masks)
        attention = prepare_attention_masks_4d(make_att_2d_masks(pad_masks, att_masks))
        output, keys, values = self._ran_layers(attention, torch.cumsum(pad_masks, dim=1) - 1, embeddings)
        places = torch.arange(pad_masks.shape[1], device=pad_masks.device)
        features = prefix_features(batch[OBS_STATE], output, pad_masks, (places * pad_masks).argmax(dim=1))
        # a tokenizer may pad to the longest prompt of a batch; padding to the longest of all lets rows of two mix
        spare = self._longest_prompt - tokens.shape[1]
        context = {
            "keys": F.pad(keys, (0, 0, 0, spare)),
            "values": F.pad(values, (0, 0, 0, spare)),
            "pad_masks": F.pad(pad_masks, (0, spare)),
            **self._beside_noise(batch),
        }
        return Encoding(features, context)

    def _beside_noise(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return what the action expert reads besides prefix and noise: its state [B, S], padded."""
        return {"state": self._policy.prepare_state(batch)}

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        beside = dict(encoding.context)
        keys, values, masks = beside.pop("keys"), beside.pop("values"), beside.pop("pad_masks")
        (actions,) = self._denoised(keys, values, masks, noise, *beside.values())
        return actions[:, :, : self.embodiment.action_dim]

    def _layers(self, attention: Tensor, positions: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run PaliGemma over embeddings [B, L, H], with masks [B, 1, L, L] and positions [B, L].

        Returns outputs [B, L, H] float32, and keys and values [B, layers, heads, L, head_dim].
        """
        towers = self._policy.model.paligemma_with_expert
        towers.paligemma.model.language_model.config._attn_implementation = "eager"
        (output, _), cache = towers.forward(
            attention_mask=attention,
            position_ids=positions,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        keys, values = ([getattr(layer, name) for layer in cache.layers] for name in ("keys", "values"))
        return output.float(), torch.stack(keys, dim=1), torch.stack(values, dim=1)
