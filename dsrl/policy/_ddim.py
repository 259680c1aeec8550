"""The first level of a DDIM sampler, which must be near pure noise: a small number of steps may miss it.

Levels are spaced by a whole number, levels // steps, up from 0: of 100 levels, 10 steps start at 90, but 51 at 50,
where the network takes pure noise for a half-made chunk.
"""

from __future__ import annotations

NEAR = 0.8  # of the noisiest level
MOST = 1000  # denoising steps that can be typed


def check_ddim_steps(num_steps: int, levels: int, where: str, own: int | None = None) -> None:
    """Check a number of steps against the levels of noise of the policy at `where`; its `own` may start anywhere.

    Raises:
        ValueError: for more steps than levels, or for steps that start far below pure noise.
    """
    if not 1 <= num_steps <= levels:
        raise ValueError(
            f"policy.num_steps={num_steps} but {where} has {levels} levels of noise; type a number of 1 to {levels}"
        )
    problem = far_from_noise(num_steps, levels)
    if problem and num_steps != own:
        raise ValueError(f"policy.num_steps={num_steps} of {where} {problem}")


def far_from_noise(num_steps: int, levels: int) -> str:
    """Word where a sampler of `num_steps` starts and which numbers start near pure noise; "" if it does itself."""
    if _starts_near(num_steps, levels):
        return ""
    good = [n for n in range(1, min(levels, MOST) + 1) if _starts_near(n, levels)]
    nearest = [*[n for n in good if n < num_steps][-1:], *[n for n in good if n > num_steps][:1]]
    return (
        f"starts at level {_first(num_steps, levels)} of 0 to {levels - 1}, far below the pure noise that it is given, "
        f"so that its chunks are broken; type {' or '.join(f'policy.num_steps={n}' for n in nearest)}"
    )


def _first(num_steps: int, levels: int) -> int:
    return (num_steps - 1) * (levels // num_steps)


def _starts_near(num_steps: int, levels: int) -> bool:
    return _first(num_steps, levels) >= NEAR * (levels - 1)
