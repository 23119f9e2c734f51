"""flops: multiply-accumulates of convolutions and linear layers on one image, a control that any proxy should beat."""

from torch import Tensor, nn

from zcpt_ray.data import Batch
from zcpt_ray.proxies.base import Proxy, layers_that_run


def multiply_adds(layer: nn.Module, output: Tensor) -> int:
    """What a convolution or linear layer with this output [B, ...] costs per image: each weight and bias once per position."""
    return sum(parameter.numel() for parameter in layer.parameters()) * output[0, 0].numel()


def flops(net: nn.Module, batch: Batch) -> float:
    """The numbers of NAS-Bench-201's table."""
    return float(sum(multiply_adds(layer, output) for layer, output in layers_that_run(net, batch)))


FLOPS = Proxy("flops", (flops,), "control, counted as in NAS-Bench-201 (Dong and Yang 2020)", batch_norm="none", dtype="int")
