"""flops: multiply-accumulates of convolutions and linear layers on one image, a control that any proxy should beat."""

from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import layers_that_run, multiply_adds
from zcpt_ray.proxies.base import Proxy


def flops(net: nn.Module, batch: Batch) -> float:
    """The numbers of NAS-Bench-201's table."""
    return float(sum(multiply_adds(layer, output) for layer, output in layers_that_run(net, batch.images)))


FLOPS = Proxy(
    "flops", (flops,), "control, counted as in NAS-Bench-201 (Dong and Yang 2020)", batch_norm="none", dtype="int"
)
