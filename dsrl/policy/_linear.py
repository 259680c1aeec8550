"""Linear layers of frozen networks on CPUs, multiplied by oneDNN: up to twice as fast as the default on AMD's.

torch multiplies float32 matrices by Intel's MKL, which leaves AVX-512 unused on processors of other makers; oneDNN,
which torch contains as well, uses it on all. On Intel's own MKL is the faster one, by 15 to 30 % (docs/speed.md).
Results differ by rounding, about 1e-7 of the largest number of a row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available() and hasattr(  # type: ignore[no-untyped-call]
    torch.ops.mkldnn, "_linear_pointwise"
)
FEWEST_ROWS = 32  # below, the call of oneDNN costs more than it saves


class FrozenLinear(nn.Module):
    """A linear layer without gradients that shares the weights of the layer it replaces."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.out_features, self.in_features = weight.shape

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute inputs [..., in] times the transposed weight [out, in], plus the bias [out]."""
        of_one_type = inputs.is_cpu and inputs.dtype == self.weight.dtype
        multiply = multiplier(inputs.numel() // self.in_features if of_one_type else 0, self.weight)
        return multiply(inputs, self.weight, self.bias)


def multiplier(rows: int, weight: Tensor) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Return `F.linear` or the same by oneDNN, the faster one on AMD's processors for `rows` rows and such a `weight`.

    oneDNN is very slow on a part of a weight that is stored by columns, since the columns of the part lie apart.
    """
    if rows < FEWEST_ROWS or not weight.is_cpu or weight.dtype != torch.float32 or not HAS_ONEDNN:
        return F.linear
    whole = weight.is_contiguous() or weight.T.is_contiguous()
    return _by_onednn if whole else F.linear


def _by_onednn(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(inputs, weight, bias, "none", [], "")
    return product


def store_by_columns(weight: Tensor) -> None:
    """Store a weight [out, in] column by column where oneDNN multiplies it, which else rearranges it in each call.

    Its shape and numbers stay.
    """
    if weight.is_cpu and weight.dtype == torch.float32 and HAS_ONEDNN:
        weight.data = weight.data.T.contiguous().T


def speed_up_linear_layers(network: nn.Module) -> None:
    """Replace all linear layers of a frozen network on the CPU by `FrozenLinear`; elsewhere, change nothing."""
    if next(network.parameters()).device.type != "cpu" or not HAS_ONEDNN:
        return
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                store_by_columns(layer.weight)
                setattr(parent, name, FrozenLinear(layer.weight, layer.bias))
