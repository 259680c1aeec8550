"""Times a π0 of the real size, random weights, against lerobot's own. On CUDA only: a decision takes a CPU minutes.

The weights are in the types that lerobot holds them in for `dtype=bfloat16`: 8 GB on disk, twice that on the GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from dsrl.interfaces import Observation
from dsrl.policy.pi0 import Pi0
from scripts.benchmark.paired import table
from scripts.benchmark.policies import HEAD, Stock, compare, row

WORDS = ["<unk>", "<pad>", "pick", "up", "the", "red", "cube"]
SIDE = 224  # of an image, in pixels


def write_checkpoint(
    folder: Path, cameras: Sequence[str] = ("base", "wrist"), dim: int = 7, side: int = SIDE, **fields: Any
) -> Path:
    """Write weights, configuration, processors and tokenizer to `folder` and return it; `fields` are of a PI0Config."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.pi0.configuration_pi0 import PI0Config
    from lerobot.policies.pi0.modeling_pi0 import PI0Policy
    from lerobot.policies.pi0.processor_pi0 import make_pi0_pre_post_processors

    from dsrl.policy._lerobot import quiet

    image = PolicyFeature(FeatureType.VISUAL, (3, side, side))
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (dim,))}
    inputs |= {f"observation.images.{camera}": image for camera in cameras}
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (dim,))}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fields = {"dtype": "bfloat16", "device": device, "image_resolution": (side, side), **fields}
    config = PI0Config(input_features=inputs, output_features=outputs, **fields)
    with torch.random.fork_rng(), quiet(), torch.device(fields["device"]):
        torch.manual_seed(0)
        PI0Policy(config).save_pretrained(folder)
    statistics = {key: {"mean": torch.zeros(dim), "std": torch.ones(dim)} for key in ("observation.state", "action")}
    save_processors(folder, lambda: make_pi0_pre_post_processors(config, dataset_stats=statistics), WORDS)
    return folder


def save_processors(folder: Path, make: Callable[[], tuple[Any, Any]], words: Sequence[str]) -> None:
    """Save both pipelines of `make`, with a tokenizer of `words` instead of PaliGemma's, which is on the hub."""
    from lerobot.processor import TokenizerProcessorStep
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    places = {word: place for place, word in enumerate(words)}
    of_words = Tokenizer(models.WordLevel(places, unk_token="<unk>"))
    of_words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=of_words, unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(folder / "tokenizer")
    loading = "lerobot.processor.tokenizer_processor.AutoTokenizer.from_pretrained"
    with patch(loading, lambda _: tokenizer):  # lerobot would ask the hub
        pipelines = make()
    for step in pipelines[0].steps:
        if isinstance(step, TokenizerProcessorStep):
            step.tokenizer_name = "tokenizer"
    for pipeline in pipelines:
        pipeline.save_pretrained(folder)


class StockPi0(Stock):
    """lerobot's own π0, with the processors of `ours`."""

    @torch.no_grad()
    def prefix(self, observation: Observation) -> tuple[Any, ...]:
        """Run PaliGemma over an observation; returns what `denoise_step` takes first: state, masks and cache."""
        from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

        batch, model = self.batch(observation), self.policy.model
        images, image_masks = self.policy._preprocess_images(batch)
        tokens, token_masks = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
        embeddings, pad_masks, att_masks = model.embed_prefix(images, image_masks, tokens, token_masks)
        model.paligemma_with_expert.paligemma.model.language_model.config._attn_implementation = "eager"
        _, cache = model.paligemma_with_expert.forward(
            attention_mask=prepare_attention_masks_4d(make_att_2d_masks(pad_masks, att_masks)),
            position_ids=torch.cumsum(pad_masks, dim=1) - 1,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        return self.policy.prepare_state(batch), pad_masks, cache

    def num_steps(self) -> int:
        """Return the number of Euler steps."""
        steps: int = self.policy.config.num_inference_steps
        return steps


def report_pi0(checkpoint: Path, device: str, turns: int, worlds: Sequence[int] = (1, 16)) -> None:
    """Print a π0 beside stock lerobot, for one decision of each number of worlds."""
    ours = Pi0(str(checkpoint), device, "checkpoint")  # type: ignore[arg-type]  # cpu or cuda
    stock = StockPi0.beside(ours, checkpoint)
    numbers = sum(weight.numel() for weight in ours._policy.parameters())
    print(f"π0, {numbers / 1e9:.1f} billion random weights in bfloat16, two cameras of {SIDE} × {SIDE}\n")
    print(table(HEAD, [row("π0", num, *compare(ours, stock, num, turns)) for num in worlds]))


def report_real_pi0(device: str, turns: int) -> None:
    """Print a π0 of the real size; needs 8 GB in the folder of temporary files."""
    with tempfile.TemporaryDirectory() as name:
        report_pi0(write_checkpoint(Path(name)), device, turns)
