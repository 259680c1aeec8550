"""Linear layers of frozen networks on CPUs, multiplied by oneDNN: twice as fast as the default on many of them.

torch multiplies float32 matrices by Intel's MKL, which leaves AVX-512 unused on processors of other makers; oneDNN,
which torch contains as well, uses it on all. Results differ by rounding, about 1e-7 of the largest number of a row.
"""

from __future__ import annotations

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
        many = inputs.numel() >= FEWEST_ROWS * self.in_features
        if not many or inputs.device.type != "cpu" or inputs.dtype != torch.float32 or not HAS_ONEDNN:
            return F.linear(inputs, self.weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
        return product


def speed_up_linear_layers(network: nn.Module) -> None:
    """Replace all linear layers of a frozen network on the CPU by `FrozenLinear`; elsewhere, change nothing."""
    if next(network.parameters()).device.type != "cpu" or not HAS_ONEDNN:
        return
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                setattr(parent, name, FrozenLinear(layer.weight, layer.bias))
