"""The lerobot policies that dsrl loads: per type, which configuration and which processor steps a checkpoint may have.

Everything outside these tables is refused before lerobot reads it, because lerobot's registry also has steps that
download, import and run code that a checkpoint names. A new policy type is one more entry of `POLICY_TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsrl.policy._checkpoint_files import MIB
from dsrl.policy._policy_fields import (
    CONFIG,
    DIFFUSION,
    DIM,
    DIT,
    EO1,
    EO1_CONVERSATION,
    EO1_QWEN,
    NORMALISER,
    OPTIMISER,
    PI,
    RELATIVE,
    SMOLVLA,
    STEPS,
    TOKENIZER,
)
from dsrl.schema import Check, choice, constant, record

_PI_WORDS = (  # weights of words that π0 and π0.5 never write
    "model.paligemma_with_expert.gemma_expert.lm_head.",
    "model.paligemma_with_expert.paligemma.lm_head.",
)


@dataclass(frozen=True)
class PolicyType:
    """Everything that a checkpoint of one lerobot policy may contain."""

    config: Check  # of config.json
    preprocessor: Mapping[str, Check]  # registered step -> check of its arguments
    postprocessor: Mapping[str, Check]
    needed: tuple[str, ...]  # steps without which lerobot would silently compute something else
    unused_weights: tuple[str, ...]  # beginnings of the names of weights that touch no action
    largest_weights: int  # bytes of model.safetensors


def _pi(prompt: Mapping[str, Check]) -> PolicyType:
    """A π0 or π0.5, with the processor steps that prepare its prompt."""
    return PolicyType(
        config=record({**CONFIG, **OPTIMISER, **PI}, required=("input_features", "output_features")),
        preprocessor={
            **STEPS,
            **prompt,
            "tokenizer_processor": TOKENIZER,
            "relative_actions_processor": RELATIVE,
            "normalizer_processor": NORMALISER,
        },
        postprocessor={
            **STEPS,
            "unnormalizer_processor": NORMALISER,
            "absolute_actions_processor": record({"enabled": constant(False)}),
        },
        needed=(*prompt, "tokenizer_processor", "normalizer_processor", "unnormalizer_processor"),
        unused_weights=_PI_WORDS,
        largest_weights=20480 * MIB,  # π0 has 7 or 14 GB
    )


POLICY_TYPES: dict[str, PolicyType] = {
    "multi_task_dit": PolicyType(
        config=record({**CONFIG, **OPTIMISER, **DIT}, required=("input_features", "output_features")),
        preprocessor={**STEPS, "tokenizer_processor": TOKENIZER, "normalizer_processor": NORMALISER},
        postprocessor={**STEPS, "unnormalizer_processor": NORMALISER},
        needed=("tokenizer_processor", "normalizer_processor", "unnormalizer_processor"),
        unused_weights=(),
        largest_weights=8192 * MIB,  # a multi-task DiT has about 1 GB
    ),
    "eo1": PolicyType(
        config=record({**CONFIG, **OPTIMISER, **EO1}, required=("input_features", "output_features", "vlm_config")),
        preprocessor={
            **STEPS,
            "normalizer_processor": NORMALISER,
            "eo1_conversation_template_processor": EO1_CONVERSATION,
            "eo1_qwen_processor": EO1_QWEN,
        },
        postprocessor={**STEPS, "unnormalizer_processor": NORMALISER},
        needed=(
            *("normalizer_processor", "eo1_conversation_template_processor", "eo1_qwen_processor"),
            "unnormalizer_processor",
        ),
        unused_weights=("model.vlm_backbone.lm_head.",),  # EO-1 writes actions here, never words
        largest_weights=20480 * MIB,  # EO-1 has 7 or 14 GB
    ),
    "pi0": _pi({"pi0_new_line_processor": record({})}),
    "pi05": _pi(
        {"pi05_prepare_state_tokenizer_processor_step": record({"max_state_dim": DIM, "task_key": choice("task")})}
    ),
    "diffusion": PolicyType(
        config=record({**CONFIG, **OPTIMISER, **DIFFUSION}, required=("input_features", "output_features")),
        preprocessor={**STEPS, "normalizer_processor": NORMALISER},
        postprocessor={**STEPS, "unnormalizer_processor": NORMALISER},
        needed=("normalizer_processor", "unnormalizer_processor"),
        unused_weights=(),
        largest_weights=8192 * MIB,  # a Diffusion Policy has about 1.1 GB
    ),
    "smolvla": PolicyType(
        config=record({**CONFIG, **OPTIMISER, **SMOLVLA}, required=("input_features", "output_features")),
        preprocessor={
            **STEPS,
            "smolvla_new_line_processor": record({}),
            "tokenizer_processor": TOKENIZER,
            "normalizer_processor": NORMALISER,
        },
        postprocessor={**STEPS, "unnormalizer_processor": NORMALISER},
        needed=("tokenizer_processor", "normalizer_processor", "unnormalizer_processor"),
        unused_weights=("model.vlm_with_expert.vlm.lm_head.",),  # SmolVLA writes actions, never words
        largest_weights=8192 * MIB,  # SmolVLA has 0.9 or 1.8 GB
    ),
}
