"""Clones demonstrations into a SmolVLA by lerobot's own flow-matching loss and writes a complete lerobot checkpoint.

--init small starts from a small SmolVLA with random weights, whose VLM must be trained too: --train all.

The checkpoint has weights (the running average at the lowest held-out loss), config, processors with the dataset's
statistics, and the VLM's configuration.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.policy._tiny_vlm import WORDS
from dsrl.training.lerobot_columns import ACTION, STATE
from scripts._lerobot_dataset import open_dataset
from scripts.pretrain.cloning import LossOf, check_several, choose_frames, held_out_loss, learn
from scripts.pretrain.options import SMALL
from scripts.pretrain.prefix_cache import PrefixCache
from scripts.pretrain.small_smolvla import CHUNK, small_smolvla

Batch = dict[str, Any]
VLM = "vlm"  # folder of the backbone in a checkpoint


class Clips:
    """Frames of a LeRobotDataset in memory, each with the chunk of actions that follows it."""

    def __init__(self, dataset: Any, frames: NDArray[np.int64], cameras: list[str]) -> None:
        """frames: int [N] indices into `dataset`, which must have been opened with the chunk's delta_timestamps."""
        items = [dataset[int(frame)] for frame in frames]
        self.images = {
            key: torch.stack([(item[key] * 255).round().to(torch.uint8) for item in items]) for key in cameras
        }
        padding = torch.stack([item["action_is_pad"] for item in items])  # [N, T]
        # lerobot drops the last axis of vectors of one number
        states = torch.stack([item[STATE] for item in items]).reshape(len(items), -1).float()
        actions = torch.stack([item[ACTION] for item in items]).reshape(*padding.shape, -1).float()
        for key, values in ((STATE, states), (ACTION, actions)):
            if not values.isfinite().all():
                raise ValueError(f"the dataset has {key} that is not finite; remove those episodes")
        self.tensors = {STATE: states, ACTION: actions, "action_is_pad": padding}
        self.instructions = [item["task"] for item in items]
        if not all(isinstance(instruction, str) for instruction in self.instructions):
            raise ValueError("the dataset has frames without an instruction; give each of them a task")

    def __len__(self) -> int:
        return len(self.instructions)

    def batch(self, rows: Tensor) -> Batch:
        """Return the frames in `rows` [B] as lerobot's collated batch."""
        images = {key: image[rows].float() / 255 for key, image in self.images.items()}
        tensors = {key: tensor[rows] for key, tensor in self.tensors.items()}
        return {**images, **tensors, "task": [self.instructions[int(row)] for row in rows]}


def pretrain(options: argparse.Namespace, out: Path) -> None:
    """Train a SmolVLA and write its checkpoint into `out`.

    Raises ValueError for a dataset that leaves no episode to learn from, FileNotFoundError for a missing file.
    """
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    torch.manual_seed(options.seed)
    dataset = open_dataset(options.dataset)
    features = features_of(dataset, options.dataset)
    with start(options, features, list(dataset.meta.tasks.index)) as init:
        _clone(argparse.Namespace(**{**vars(options), "init": init}), dataset, features, out)


@contextmanager
def start(options: argparse.Namespace, features: dict[str, Any], instructions: Sequence[str]) -> Iterator[str]:
    """Give the folder or hub id to start from; that of --init small exists until the end of the context."""
    if options.init != SMALL:
        yield options.init
        return
    sentences = [re.findall(WORDS, sentence.lower()) for sentence in instructions]
    vocabulary = sorted({word for sentence in sentences for word in sentence})
    longest = max(len(sentence) for sentence in sentences) + 1  # SmolVLA ends each with a line
    with tempfile.TemporaryDirectory() as folder:
        policy = small_smolvla(Path(folder), features, vocabulary, options.chunk or CHUNK, longest)
        policy.config.vlm_model_name = VLM
        policy.save_pretrained(folder)
        yield folder


def _clone(options: argparse.Namespace, dataset: Any, features: dict[str, Any], out: Path) -> None:
    """Clone `dataset` into the policy of `options.init`, and write the checkpoint `out`."""
    _, config = load_config(options.init)
    chunk = config.chunk_size
    dataset = open_dataset(options.dataset, delta_timestamps={ACTION: [i / dataset.meta.fps for i in range(chunk)]})
    policy, preprocess, postprocess = load_all(options, features, dataset.meta.stats, out)
    held_out, clips = split(dataset, chunk, list(policy.config.image_features), options)
    print(f"{len(clips)} frames to learn from, {len(held_out)} held out; "
          f"{sum(weight.numel() for weight in policy.parameters())} weights", flush=True)  # fmt: skip
    outside = make_loss(policy, preprocess, held_out, options.cache_prefix)
    average = learn(
        policy,
        make_loss(policy, preprocess, clips, options.cache_prefix),
        len(clips),
        lambda model: held_out_loss(model, outside, len(held_out), 64),
        options,
    )
    save(average, preprocess, postprocess, out)


def load_config(init: str) -> tuple[Path, Any]:
    """Return folder and configuration of the SmolVLA at `init`. Raises ValueError or FileNotFoundError."""
    from dsrl.policy import _lerobot
    from dsrl.policy._find import find_checkpoint

    checkpoint = find_checkpoint(init, "--init ", ("config.json", "model.safetensors"))
    return checkpoint, _lerobot.read_config(checkpoint, "smolvla", torch.device("cpu"))


def features_of(dataset: Any, named: str) -> dict[str, Any]:
    """Return lerobot's features of state, cameras and action of a dataset, as its first frame has them.

    Raises ValueError for a dataset without one of these.
    """
    from lerobot.configs import FeatureType, PolicyFeature

    first, cameras = dataset[0], list(dataset.meta.camera_keys)
    missing = [key for key in (STATE, ACTION) if key not in first]
    if missing or not cameras:
        raise ValueError(
            f"--dataset {named} has no {missing[0] if missing else 'images'}, which a SmolVLA needs; record it with "
            "states, actions and images"
        )
    numbers = {STATE: FeatureType.STATE, ACTION: FeatureType.ACTION}
    features = {key: PolicyFeature(kind, (first[key].numel(),)) for key, kind in numbers.items()}
    return features | {key: PolicyFeature(FeatureType.VISUAL, tuple(first[key].shape)) for key in cameras}


def load_all(options: argparse.Namespace, features: dict[str, Any], stats: Any, out: Path) -> tuple[Any, Any, Any]:
    """Return policy, preprocessor and postprocessor for the features and statistics of a dataset.

    The policy's backbone is the one that `load_policy` writes into `out`.
    """
    from lerobot.policies.factory import make_pre_post_processors

    from dsrl.policy._statistics import check_processors

    policy = load_policy(options.init, features, options.train, out).to(options.device)
    policy.config.device = options.device
    preprocess, postprocess = make_pre_post_processors(policy.config, dataset_stats=stats)
    check_processors(policy.config, preprocess, postprocess, f"--dataset {options.dataset}")
    return policy, preprocess, postprocess


def load_policy(init: str, features: dict[str, Any], train: str, out: Path) -> Any:
    """Return the SmolVLA at `init` with a dataset's features; `train` is "expert" (the VLM is frozen) or "all".

    Weights, backbone and tokenizer are checked as those of a policy that is steered. Sizes and tokenizer of the
    backbone, and nothing else of its folder, are copied to `out`/vlm, from where they are read. Raises ValueError.
    """
    from lerobot.configs import FeatureType
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    from dsrl.policy import _lerobot, _smolvlm
    from dsrl.policy._find import find_backbone

    checkpoint, config = load_config(init)
    backbone, root = find_backbone(config.vlm_model_name, checkpoint)
    for key, most in ((STATE, config.max_state_dim), (ACTION, config.max_action_dim)):
        if features[key].shape[0] > most:
            raise ValueError(
                f"--init {init} takes {key} of up to {most} numbers but the dataset has {features[key].shape[0]}; "
                "choose another of the two"
            )
    config.load_vlm_weights = False  # the checkpoint holds them all
    config.input_features = {key: f for key, f in features.items() if f.type is not FeatureType.ACTION}
    config.output_features = {key: f for key, f in features.items() if f.type is FeatureType.ACTION}
    config.train_expert_only = config.freeze_vision_encoder = train == "expert"
    config.train_state_proj = train == "all"
    _smolvlm.check_lengths(_smolvlm.read_backbone(backbone, root), config, checkpoint)
    with _smolvlm.clean_backbone(backbone, root) as clean:
        shutil.copytree(clean, out / VLM)
    config.vlm_model_name = str(out / VLM)
    weights = _lerobot.check_weights(lambda: SmolVLAPolicy(config), checkpoint, "smolvla")
    policy = SmolVLAPolicy.from_pretrained(checkpoint, config=config)
    _lerobot.take_stored_types(policy, weights)
    return policy


def split(dataset: Any, chunk: int, cameras: list[str], options: argparse.Namespace) -> tuple[Clips, Clips]:
    """Return the held-out frames (of the first episodes) and all others. Raises ValueError if none are left."""
    lengths = np.array(dataset.meta.episodes["length"])
    starts = np.array(dataset.meta.episodes["dataset_from_index"])
    check_several(len(lengths))
    if options.held_out >= len(lengths):
        raise ValueError(f"--held-out {options.held_out} leaves no episode of {len(lengths)} to learn from; lower it")
    frames = choose_frames(lengths, starts, chunk, options.extra_frames, np.random.default_rng(options.seed))
    parts = frames[: options.held_out], frames[options.held_out :]
    held_out, clips = (Clips(dataset, np.concatenate(part), cameras) for part in parts)
    return held_out, clips


def make_loss(policy: Any, preprocess: Any, clips: Clips, cached: bool) -> LossOf:
    """Return lerobot's loss on rows of `clips`; `cached` encodes each frame once (for a frozen VLM only)."""
    if not cached:
        return lambda model, rows: model.forward(preprocess(clips.batch(rows)))[0]
    rows = torch.split(torch.arange(len(clips)), 64)
    return PrefixCache(policy, (preprocess(clips.batch(part)) for part in rows)).loss


def save(policy: Any, preprocess: Any, postprocess: Any, out: Path) -> None:
    """Write a complete checkpoint, whose backbone is there already; it is named relative to the folder."""
    policy.config.vlm_model_name = VLM
    for step in preprocess.steps:
        if hasattr(step, "tokenizer_name"):
            step.tokenizer_name = VLM
    for part in (policy, preprocess, postprocess):
        part.save_pretrained(out)
