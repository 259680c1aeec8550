"""The processors of a policy of type dsrl: names and devices only, the base policy has its own inside."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action

from lerobot_policy_dsrl.configuration_dsrl import DsrlConfig


def make_dsrl_pre_post_processors(config: DsrlConfig, dataset_stats: Any = None) -> tuple[Any, Any]:
    """Return the pipelines that an exported folder has as JSON."""
    rename, batch = RenameObservationsProcessorStep(rename_map={}), AddBatchDimensionProcessorStep()
    steps = [rename, batch, DeviceProcessorStep(device=str(config.device))]
    after = [DeviceProcessorStep(device="cpu")]
    return (
        PolicyProcessorPipeline(steps=steps, name="policy_preprocessor"),
        PolicyProcessorPipeline(
            steps=after,
            name="policy_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
