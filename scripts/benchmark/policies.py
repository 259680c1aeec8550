"""Times SmolVLA against lerobot's own: the bundled policy by number of worlds, and one of real size in two precisions.

"stock" is lerobot's policy as it loads it, its float32 products by torch's default library. `features + chunk` is what
a learner needs of one decision: stock lerobot has no method for features, so its prefix is computed twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from dsrl.interfaces import Observation
from dsrl.policy._lerobot_policy import LerobotPolicy
from dsrl.policy.smolvla import SmolVLA
from scripts._stock_prefix import prefill
from scripts.benchmark.paired import Timed, clock_of, in_turns, table


@dataclass(frozen=True)
class Stock:
    """lerobot's own policy, with the processors of `ours`."""

    ours: LerobotPolicy
    policy: Any

    @classmethod
    def beside(cls, ours: LerobotPolicy, checkpoint: Path) -> Self:
        """Load the checkpoint of `ours` again as lerobot does."""
        return cls(ours, ours._load(ours._config, checkpoint))

    @torch.no_grad()
    def batch(self, observation: Observation) -> dict[str, Any]:
        """Preprocess an observation."""
        prepared: dict[str, Any] = self.ours._preprocess(self.ours.embodiment.as_batch(observation, self.ours.device))
        return prepared

    @torch.no_grad()
    def prefix(self, observation: Observation) -> tuple[Any, ...]:
        """Run the VLM over an observation, for the features; returns what `denoise_step` takes first."""
        batch, model = self.policy._prepare_batch(self.batch(observation)), self.policy.model
        images, masks = self.policy.prepare_images(batch)
        tokens, token_masks = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
        prefix = prefill(model, images, masks, tokens, token_masks, self.policy.prepare_state(batch))
        return prefix.pad_masks, prefix.cache

    @torch.no_grad()
    def chunk(self, observation: Observation, noise: Tensor) -> Tensor:
        """Call lerobot's `predict_action_chunk`."""
        chunk: Tensor = self.ours._postprocess(
            self.policy.predict_action_chunk(self.batch(observation), noise=noise.to(self.ours.device))
        )
        return chunk

    @torch.no_grad()
    def denoise(self, prefix: tuple[Any, ...], noise: Tensor) -> Tensor:
        """Run lerobot's denoising from a prefix cache, the part of `predict_action_chunk` that `decode` does."""
        from lerobot.policies.common.flow_matching import euler_integrate

        def velocity(noisy: Tensor, time: Tensor) -> Tensor:
            flow: Tensor = self.policy.model.denoise_step(*prefix, noisy, time)
            return flow

        actions: Tensor = euler_integrate(velocity, noise.to(self.ours.device), self.num_steps())
        return actions

    def num_steps(self) -> int:
        """Return the number of Euler steps."""
        steps: int = self.policy.config.num_steps
        return steps


def random_observation(policy: LerobotPolicy, worlds: int) -> Observation:
    """Draw images and states of `worlds` worlds from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    images = {
        camera: torch.randint(256, (worlds, *shape), generator=generator, dtype=torch.uint8)
        for camera, shape in policy.embodiment.image_shapes.items()
    }
    state = 0.1 * torch.randn(worlds, policy.embodiment.state_dim, generator=generator)
    return Observation(state, images, ("pick up the red cube",) * worlds)


def compare(ours: LerobotPolicy, stock: Stock, worlds: int, turns: int) -> tuple[Timed, float]:
    """Time `ours` and `stock` for one decision of `worlds` worlds; also the largest difference of their chunks."""
    observation = random_observation(ours, worlds)
    noise = torch.randn(worlds, *ours.noise_shape, generator=torch.Generator().manual_seed(1))
    encoding, prefix = ours.encode(observation), stock.prefix(observation)
    difference = float((ours.decode(encoding, noise) - stock.chunk(observation, noise)).abs().max())

    def stock_features_and_chunk() -> None:
        stock.prefix(observation)
        stock.chunk(observation, noise)

    calls = {
        "decode": lambda: ours.decode(encoding, noise),
        "stock decode": lambda: stock.denoise(prefix, noise),
        "both": lambda: ours.decode(ours.encode(observation), noise),
        "stock chunk": lambda: stock.chunk(observation, noise),
        "stock both": stock_features_and_chunk,
    }
    return in_turns(calls, turns, clock_of(ours.device.type)), difference


HEAD = [
    "",
    "worlds",
    "ms",
    "stock decode ÷ decode",
    "stock chunk ÷ ours",
    "stock features + chunk ÷ ours",
    "chunk moves",
]


def row(name: str, worlds: int, timed: Timed, difference: float) -> list[str]:
    """Describe one comparison; each ratio counts how many times as fast ours is."""
    ratios = [
        timed.ratio("stock decode", "decode"),
        timed.ratio("stock chunk", "both"),
        timed.ratio("stock both", "both"),
    ]
    return [name, str(worlds), f"{1000 * timed.median('both'):.0f}", *ratios, f"{difference:.1e}"]


def report_bundled(path: str, device: str, turns: int, worlds: Sequence[int] = (1, 16, 64)) -> None:
    """Print the bundled policy beside stock lerobot."""
    from dsrl.policy._find import find_checkpoint

    ours = SmolVLA(path, device, "checkpoint")  # type: ignore[arg-type]  # cpu or cuda
    stock = Stock.beside(ours, find_checkpoint(path))
    print(f"SmolVLA {path!r}, features + chunk of one decision (`chunk moves`: largest difference to lerobot's)\n")
    print(table(HEAD, [row(path, num, *compare(ours, stock, num, turns)) for num in worlds]))


def report_real_size(device: str, turns: int, worlds: Sequence[int] = (1,)) -> None:
    """Print random weights of SmolVLA's real size, exact and in bfloat16, beside stock lerobot in float32."""
    from scripts.benchmark.real_size import write_checkpoint

    print("450 M random weights at SmolVLA's real size, two cameras of 512 × 512, ten denoising steps\n")
    with tempfile.TemporaryDirectory() as name:
        checkpoint = write_checkpoint(Path(name))
        rows = []
        for dtype in ("float32", "bfloat16"):
            ours = SmolVLA(str(checkpoint), device, dtype)  # type: ignore[arg-type]
            stock = Stock.beside(ours, checkpoint)
            rows += [row(dtype, num, *compare(ours, stock, num, turns)) for num in worlds]
            del ours, stock
        print(table(HEAD, rows))


def machine_limits(sizes: Mapping[str, tuple[int, int, int]]) -> list[list[str]]:
    """Measure billions of float32 operations per second of products [rows, in] x [in, out], by library."""
    from dsrl.policy._linear import FrozenLinear

    rows = []
    for name, (num, inputs, outputs) in sizes.items():
        layer = torch.nn.Linear(inputs, outputs, bias=False).requires_grad_(False)
        frozen, given = FrozenLinear(layer.weight, None), torch.randn(num, inputs)
        work, repeats = 2e-9 * num * inputs * outputs, max(1, int(2e9 / (num * inputs * outputs)))

        def repeated(call: Any, given: Tensor = given, repeats: int = repeats) -> None:
            for _ in range(repeats):
                call(given)

        calls = {"torch": lambda call=layer: repeated(call), "oneDNN": lambda call=frozen: repeated(call)}
        timed = in_turns(calls, 5, clock_of("cpu"))
        rates = [f"{work * repeats / timed.median(one):.0f}" for one in ("torch", "oneDNN")]
        rows.append([name, *rates, timed.ratio("torch", "oneDNN")])
    return rows
