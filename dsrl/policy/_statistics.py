"""The normalisation statistics of a lerobot checkpoint: of every feature, finite, of its shape and with a spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lerobot.configs import NormalizationMode
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE
from torch import Tensor

from dsrl.policy._embodiment import image_keys
from dsrl.policy._find import PREPROCESSOR
from dsrl.policy._lerobot import processor_step

SMALLEST_SPREAD = 1e-6  # lerobot divides by (std + 1e-8): below this an input is amplified noise, not a measurement
SPREAD = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}


def check_processors(config: Any, preprocessor: Any, postprocessor: Any, named: str) -> None:
    """Check the statistics of state, images and action in the processors of a policy, which errors call `named`.

    Raises:
        ValueError: for a feature that lerobot would silently pass unnormalised or divide by 1e-8.
    """
    inputs = [OBS_STATE, *([OBS_ENV_STATE] if config.env_state_feature else []), *image_keys(config)]
    rename = processor_step(preprocessor, "rename_observations_processor")
    earlier = {new: old for old, new in rename.rename_map.items()} if rename else {}
    _check_statistics(processor_step(preprocessor, "normalizer_processor"), inputs, named, earlier, inputs=True)
    _check_statistics(processor_step(postprocessor, "unnormalizer_processor"), [ACTION], named, {}, inputs=False)


def _check_statistics(step: Any, keys: Iterable[str], named: str, earlier: Mapping[str, str], *, inputs: bool) -> None:
    """Check that normalised features have finite statistics of their shape and, for inputs, a spread above zero.

    `earlier` are the names of features before they are renamed.
    """
    saved: Mapping[str, Tensor] = step.state_dict()
    for key in keys:
        feature = step.features.get(key)
        if feature is None:
            raise ValueError(f"{named} does not normalise {key}, only {list(step.features)}; save its processors anew")
        mode = _mode(step, key)
        if mode == NormalizationMode.IDENTITY:
            continue
        low, high = (saved.get(f"{key}.{name}") for name in SPREAD[mode])
        if low is None or high is None:
            raise ValueError(
                f"{named} has no {' and '.join(SPREAD[mode])} of {key}, which {mode.value} normalisation needs; "
                f"{_advice(step, saved, key, earlier.get(key, key))}"
            )
        sizes_fit = {low.numel(), high.numel()} <= {1, feature.shape[0]}
        if not sizes_fit or not all(bool(numbers.isfinite().all()) for numbers in (low, high)):
            raise ValueError(
                f"{named} has statistics of {key} that are not {feature.shape[0]} finite numbers; save its "
                "processors anew with the statistics of its dataset"
            )
        spread = high if mode == NormalizationMode.MEAN_STD else high - low
        if inputs and bool((spread < SMALLEST_SPREAD).any()):
            dead = (spread.flatten() < SMALLEST_SPREAD).nonzero().flatten().tolist()
            raise ValueError(
                f"{named} has no spread in {key}{dead}, so that normalising would divide by nothing; "
                f"set {SPREAD[mode][1]} of these dimensions to {_wide_enough(mode)} in the statistics"
            )


def _advice(step: Any, saved: Mapping[str, Tensor], key: str, earlier: str) -> str:
    """Return what to do about a feature without statistics, which was named `earlier` before it was renamed."""
    if f"{earlier}.{SPREAD[_mode(step, key)][0]}" not in saved:
        return "save it with the statistics of its dataset (a base model must be fine-tuned first)"
    kind, mode = step.features[key].type, _mode(step, key)
    alike = (other for other, feature in step.features.items() if feature.type == kind)
    if any(f"{other}.{SPREAD[mode][0]}" in saved for other in alike):  # they are normalised
        low = 0 if mode == NormalizationMode.MEAN_STD else -1
        change = f"add {SPREAD[mode][0]}={low} and {SPREAD[mode][1]}=1 of {key} to the statistics"
    else:
        change = f'write "{kind.value}": "IDENTITY" in the norm_map of normalizer_processor in {PREPROCESSOR}'
    return (
        f"it has those of {earlier}, its name before rename_map, which lerobot ignores: it trained {key} without "
        f"normalisation; {change} for lerobot's chunks"
    )


def _mode(step: Any, key: str) -> NormalizationMode:
    """Return how a feature is normalised."""
    mode: NormalizationMode = step.norm_map.get(step.features[key].type, NormalizationMode.IDENTITY)
    return mode


def _wide_enough(mode: NormalizationMode) -> str:
    return "1" if mode == NormalizationMode.MEAN_STD else f"1 above their {SPREAD[mode][0]}"
