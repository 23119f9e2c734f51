"""flops: multiply-accumulates of convolutions and linear layers on one image, a control that any proxy should beat."""

from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import counted_products, layers_that_run
from zcpt_ray.proxies.base import Proxy


def flops(net: nn.Module, batch: Batch) -> float:
    """The numbers of NAS-Bench-201's table; products of activations, as in attention, count too."""
    with counted_products(net) as products:
        ran = layers_that_run(net, batch.images)
    return float(sum(each.multiply_adds() for each in ran) + sum(products.values()))


FLOPS = Proxy(
    "flops", (flops,), "control, counted as in NAS-Bench-201 (Dong and Yang 2020)", batch_norm="none", dtype="int"
)
