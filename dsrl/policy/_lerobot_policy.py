"""What the lerobot policies share: loading a checkpoint, its robot, its noise, and the check that noise steers it.

    Observation --embodiment--> batch --saved preprocessor--> _encode --> Encoding
    noise [B, T', D] + Encoding --> _denoise --saved postprocessor--> chunk [B, T, A]

Images become float32 in [0, 1] and all tensors move to the policy's device here; chunks come back on the CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from dsrl.devices import Device, choose_device
from dsrl.interfaces import Encoding, Observation, Task
from dsrl.policy import _lerobot
from dsrl.policy._config_file import check_config
from dsrl.policy._configuration_digest import configuration_sha256, content_sha256, tokenizer_sha256
from dsrl.policy._embodiment import check_features, read_embodiment
from dsrl.policy._find import PREPROCESSOR, find_backbone, find_checkpoint
from dsrl.policy._options import NumSteps
from dsrl.policy._statistics import check_processors
from dsrl.policy._tokenizer import clean_tokenizer
from dsrl.policy._weights import Dtype, weights_sha256


class LerobotPolicy(ABC):
    """A frozen lerobot policy, loaded once for any number of worlds.

    Args:
        path: the folder of a lerobot checkpoint, or a hub id.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        dtype: `checkpoint` computes in the types that the weights are stored in, which are lerobot's where config and
            file agree about them; `float32` casts all weights to it; `bfloat16` is autocast, unless the policy's type
            casts its weights.
        camera_map: {task camera: checkpoint camera} where the two names differ; None or {} where they agree.
        num_steps: of a denoising; None for the checkpoint's own number.

    Raises:
        FileNotFoundError, ValueError: with one sentence, if the checkpoint is damaged or does not fit the arguments.
    """

    policy_type: ClassVar[str]
    measured: ClassVar[bool] = True  # its steering, when it is loaded: see `dsrl.rules.policy_rules`
    remarks: tuple[str, ...] = ()  # sentences to announce about the checkpoint
    reads_instruction: ClassVar[bool] = True  # of each world
    _backbone: list[Any]  # its sizes, and digests of its tokenizer, as they were read
    history: ClassVar[bool] = False  # whether it encodes its last `n_obs_steps` observations and denoises actions since

    def __init__(
        self,
        path: str,
        device: Device,
        dtype: Dtype,
        camera_map: Mapping[str, str] | None = None,
        num_steps: NumSteps | None = None,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ValueError(f"policy.dtype={dtype} is not supported; type one of {', '.join(get_args(Dtype))}")
        self.path, self.device = path, choose_device(device)
        self._half, self._backbone = False, []
        checkpoint = find_checkpoint(path)
        self._config = _lerobot.read_config(checkpoint, self.policy_type, self.device)  # first: a wrong type is named
        steps = _lerobot.read_steps(checkpoint, self.policy_type)
        check_features(self._config, checkpoint)
        self._prepare(self._config, checkpoint, num_steps)
        self._policy = self._load(self._config, checkpoint)
        self._set_dtype(dtype)
        self._preprocess, self._postprocess = self._processors(checkpoint, steps)
        check_processors(self._config, self._preprocess, self._postprocess, str(checkpoint))
        self._configuration_sha256 = configuration_sha256(self._config, self._preprocess, self._postprocess)
        self.embodiment = read_embodiment(
            path, self._config, self._preprocess, camera_map or {}, history=self.history, resizes=self._resizes()
        )
        self.num_observations = self.embodiment.num_observations
        self.first_slot = self.num_observations - 1  # of the noise: those before are of actions that are past
        self.noise_shape, self.chunk_shape = self._shapes()
        self.default_horizon: int = self._config.n_action_steps
        with _can_be_run(path, self._policy, dtype):
            encoding = self._encode_random()
            self.feature_dim: int = encoding.features.shape[1]
            drift, steer = self._measure_steering(encoding)
        if not math.isfinite(drift + steer):
            raise ValueError(f"policy.path={path} {_not_finite(self._policy)}; get the checkpoint anew")
        if not (steer > 0 and drift <= 1e-3 * steer):
            raise ValueError(
                f"policy.path={path} cannot be steered: the same noise moves its chunk by {drift:.2g}, another "
                f"noise by {steer:.2g}; choose a checkpoint whose actions depend on the initial noise alone"
            )

    @classmethod
    def check_path(cls, path: str) -> None:
        """Raise FileNotFoundError or ValueError where no checkpoint of this type is at `path`; loads no weights."""
        check_config(find_checkpoint(path), cls.policy_type)

    @abstractmethod
    def _prepare(self, config: Any, checkpoint: Path, num_steps: int | None) -> None:
        """Set the steps of a denoising and switch off what serves training and serving alone. Raises ValueError."""

    @abstractmethod
    def _load(self, config: Any, checkpoint: Path) -> Any:
        """Load lerobot's policy with the checkpoint's weights on the configured device."""

    @abstractmethod
    def _shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the shapes of the sampler's noise (T', D) and of its chunks (T, A)."""

    @abstractmethod
    def _encode(self, batch: dict[str, Any]) -> Encoding:
        """Encode a preprocessed batch."""

    @abstractmethod
    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Denoise noise [B, T', D] float32 on the policy's device into normalised actions [B, T, A]."""

    def _set_dtype(self, dtype: Dtype) -> None:
        """Choose the types of computation, once the weights are there; what is built from the weights follows."""
        self._half = dtype == "bfloat16"
        if dtype == "float32":
            self._policy.float()

    def _processors(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        """Load the saved pre- and post-processor."""
        return _lerobot.load_processors(self._config, checkpoint, steps, {}, self.device)

    def _processors_with(
        self, checkpoint: Path, steps: dict[str, Any], step: str, argument: str, cleaned: AbstractContextManager[Path]
    ) -> tuple[Any, Any]:
        """Load the saved pre- and post-processor; `step` takes the private folder of its tokenizer as `argument`."""
        with cleaned as clean:
            self._backbone.append(tokenizer_sha256(clean))
            replaced = {step: {argument: str(clean)}}
            return _lerobot.load_processors(self._config, checkpoint, steps, replaced, self.device)

    def _with_clean_tokenizer(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        """Load the saved pre- and post-processor with a checked copy of the tokenizer that the former names."""
        name = steps[PREPROCESSOR]["tokenizer_processor"]["config"].get("tokenizer_name", "")
        clean = clean_tokenizer(*find_backbone(name, checkpoint, needs="tokenizer_config.json"))
        return self._processors_with(checkpoint, steps, "tokenizer_processor", "tokenizer_name", clean)

    def _resizes(self) -> bool:
        """Return whether images of any size are taken."""
        return True

    @torch.no_grad()  # not inference_mode: features and chunks may enter a loss
    def encode(self, observation: Observation) -> Encoding:
        """Encode once per decision: the only pass over images and language.

        Raises:
            ValueError: if the observation lacks a camera, or its state or images are not what the checkpoint takes.
        """
        batch = self._preprocess(self.embodiment.as_batch(observation, self.device))
        with self._autocast():
            return self._encode(batch)

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
        with self._autocast():
            actions = self._denoise(encoding, noise.to(self.device, torch.float32))
        chunk: Tensor = self._postprocess(actions.float())
        return chunk

    def check_fits(self, task: Task) -> None:
        """Compare the task's cameras, state and action with the checkpoint's; raises ValueError where they differ."""
        self.embodiment.check_fits(task)

    def policy_sha256(self) -> str:
        """Return the SHA-256 of all weights and buffers, to check that they stay frozen."""
        return weights_sha256(self._policy)

    def configuration_sha256(self) -> str:
        """Return the SHA-256 of configuration, processors and statistics, to check that they stay the same."""
        return self._configuration_sha256

    def backbone_sha256(self) -> str | None:
        """Return the SHA-256 of the backbone's sizes and tokenizer, which may lie elsewhere; None without any."""
        return content_sha256(self._backbone) if self._backbone else None

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._half)

    def _encode_random(self) -> Encoding:
        """Encode one observation of a state of zeros and random images."""
        generator = torch.Generator().manual_seed(0)
        past = () if self.num_observations == 1 else (self.num_observations,)
        images = {
            camera: torch.randint(256, (1, *past, *shape), generator=generator, dtype=torch.uint8)
            for camera, shape in self.embodiment.image_shapes.items()
        }
        return self.encode(Observation(torch.zeros(1, *past, self.embodiment.state_dim), images, ("",)))

    def _measure_steering(self, encoding: Encoding) -> tuple[float, float]:
        """Measure how far a chunk of one encoding moves under the same noise, and under another noise."""
        one, other = torch.randn(2, *self.noise_shape, generator=torch.Generator().manual_seed(0))
        rows = torch.zeros(3, dtype=torch.int64)
        chunks = self.decode(encoding[rows], torch.stack([one, one, other]))
        drift, steer = ((chunks[0] - chunk).abs().max().item() for chunk in chunks[1:])
        return drift, steer


def _can_be_run(path: str, policy: torch.nn.Module, dtype: Dtype) -> AbstractContextManager[None]:
    """Turn the errors of a policy that does not run into a ValueError: its types of weights may not meet in a layer."""
    types = sorted({str(weight.dtype).removeprefix("torch.") for weight in policy.parameters()})
    advice = "get the checkpoint anew, or choose another"
    if dtype == "checkpoint" and len(types) > 1:
        advice = f"its weights are of {' and '.join(types)}: type policy.dtype=float32, or {advice}"
    return _lerobot.foreign_errors(f"policy.path={path} cannot be run by the installed lerobot", advice)


def _not_finite(policy: torch.nn.Module) -> str:
    """Word why a policy's chunk is not finite: the first of its weights that is not, if any."""
    lost = next((name for name, weight in policy.named_parameters() if not weight.isfinite().all()), None)
    return "computes actions that are not finite" if lost is None else f"has weights that are not finite ({lost})"
