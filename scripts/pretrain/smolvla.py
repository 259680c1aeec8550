"""Clone demonstrations into a SmolVLA with lerobot's own flow-matching loss, into a real lerobot checkpoint.

    python -m scripts.pretrain --dataset data/simple_pick --init data/grounded --out data/policy --steps 6000
    python -m scripts.pretrain --dataset my/dataset --init lerobot/smolvla_base --out my_policy --batch 16 --rate 1e-4

`--init` is the folder or hub id of any SmolVLA; its features become the dataset's. The checkpoint that is written is
whole: weights (a running average, where the held-out loss was lowest), config, processors with the dataset's
statistics, and the VLM's description.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.training.lerobot_columns import dataset_named
from scripts.pretrain.cloning import LossOf, choose_frames, held_out_loss, learn
from scripts.pretrain.prefix_cache import PrefixCache

Batch = dict[str, Any]


class Clips:
    """Some frames of a LeRobotDataset in memory, each with the chunk of actions that follows it."""

    def __init__(self, dataset: Any, frames: NDArray[np.int64], cameras: list[str]) -> None:
        """frames: int [N] indices into `dataset`, which must have been opened with the chunk's delta_timestamps."""
        items = [dataset[int(frame)] for frame in frames]
        self.pictures = {
            key: torch.stack([(item[key] * 255).round().to(torch.uint8) for item in items]) for key in cameras
        }
        self.tensors = {key: torch.stack([item[key] for item in items]) for key in ("observation.state", "action")}
        self.tensors["action_is_pad"] = torch.stack([item["action_is_pad"] for item in items])
        self.task = [item["task"] for item in items]

    def __len__(self) -> int:
        return len(self.task)

    def batch(self, rows: Tensor) -> Batch:
        pictures = {key: picture[rows].float() / 255 for key, picture in self.pictures.items()}
        tensors = {key: tensor[rows] for key, tensor in self.tensors.items()}
        return {**pictures, **tensors, "task": [self.task[int(row)] for row in rows]}


def load_policy(init: str, features: dict[str, Any], train: str) -> Any:
    """The SmolVLA at `init` with a dataset's features; `train` is "expert" (the VLM stays frozen) or "all"."""
    from lerobot.configs import FeatureType, PreTrainedConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    config = PreTrainedConfig.from_pretrained(init)
    local = Path(init) / config.vlm_model_name
    config.vlm_model_name = str(local) if local.is_dir() else config.vlm_model_name
    config.input_features = {key: f for key, f in features.items() if f.type is not FeatureType.ACTION}
    config.output_features = {key: f for key, f in features.items() if f.type is FeatureType.ACTION}
    config.train_expert_only = config.freeze_vision_encoder = train == "expert"
    config.train_state_proj = train == "all"
    return SmolVLAPolicy.from_pretrained(init, config=config)


def make_loss(policy: Any, preprocess: Any, clips: Clips, cached: bool) -> LossOf:
    """lerobot's loss on rows of `clips`; `cached` looks at each clip once (for a frozen VLM only)."""
    if not cached:
        return lambda model, rows: model.forward(preprocess(clips.batch(rows)))[0]
    rows = torch.split(torch.arange(len(clips)), 64)
    return PrefixCache(policy, (preprocess(clips.batch(part)) for part in rows)).loss


def save(policy: Any, preprocess: Any, postprocess: Any, out: Path) -> None:
    """A whole checkpoint; a local VLM description is copied in and named relative to the folder."""
    out.mkdir(parents=True, exist_ok=True)
    vlm = Path(policy.config.vlm_model_name)
    if vlm.is_dir():
        shutil.copytree(vlm, out / "vlm", dirs_exist_ok=True)
        policy.config.vlm_model_name = "vlm"
        for step in preprocess.steps:
            if hasattr(step, "tokenizer_name"):
                step.tokenizer_name = "vlm"
    policy.save_pretrained(out)
    preprocess.save_pretrained(out)
    postprocess.save_pretrained(out)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder or hub id of a LeRobotDataset")
    parser.add_argument("--init", required=True, help="folder or hub id of the SmolVLA to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", choices=["expert", "all"], default="expert", help="all: the VLM learns as well")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--extra-frames", type=int, default=3, help="frames per episode beside those of decisions")
    parser.add_argument("--held-out", type=int, default=64, help="episodes kept for the held-out loss")
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache-prefix", action="store_true", help="keep what the frozen VLM sees of every clip")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    if options.cache_prefix and options.train == "all":
        parser.error("--cache-prefix needs a frozen VLM; type --train expert")
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    torch.manual_seed(options.seed)

    from lerobot.configs import PreTrainedConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    where = dataset_named(options.dataset, "--dataset ")
    meta = LeRobotDatasetMetadata(**where)
    chunk = PreTrainedConfig.from_pretrained(options.init).chunk_size
    dataset = LeRobotDataset(**where, delta_timestamps={"action": [i / meta.fps for i in range(chunk)]})
    features = dataset_to_policy_features(meta.features)
    policy = load_policy(options.init, features, options.train).to(options.device)
    policy.config.device = options.device
    preprocess, postprocess = make_pre_post_processors(policy.config, dataset_stats=meta.stats)

    lengths = np.array(meta.episodes["length"])
    starts = np.array(meta.episodes["dataset_from_index"])
    frames = choose_frames(lengths, starts, chunk, options.extra_frames, np.random.default_rng(options.seed))
    cameras = list(policy.config.image_features)
    held_out = Clips(dataset, np.concatenate(frames[: options.held_out]), cameras)
    clips = Clips(dataset, np.concatenate(frames[options.held_out :]), cameras)
    print(
        f"{len(clips)} clips of {len(lengths)} episodes; {sum(p.numel() for p in policy.parameters())} weights",
        flush=True,
    )
    outside = make_loss(policy, preprocess, held_out, options.cache_prefix)
    average = learn(
        policy,
        make_loss(policy, preprocess, clips, options.cache_prefix),
        len(clips),
        lambda model: held_out_loss(model, outside, len(held_out), 64),
        options,
    )
    save(average, preprocess, postprocess, options.out)


if __name__ == "__main__":
    main()
