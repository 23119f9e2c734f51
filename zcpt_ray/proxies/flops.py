"""flops: multiply-accumulates of convolutions and linear layers on one image, a control that any proxy should beat."""

from torch import nn

from zcpt_ray.data import Batch
from zcpt_ray.proxies.base import Proxy, layers_that_run


def flops(net: nn.Module, batch: Batch) -> float:
    """Each weight counts once per output position, each bias too: the numbers of NAS-Bench-201's table."""
    ran = layers_that_run(net, batch)
    return float(sum(sum(p.numel() for p in layer.parameters()) * output[0, 0].numel() for layer, output in ran))


FLOPS = Proxy("flops", (flops,), "control, counted as in NAS-Bench-201 (Dong and Yang 2020)", batch_norm="none", dtype="int")
