"""params: the number of parameters, a control that any proxy should beat."""

from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import layers_that_run
from zcpt_ray.proxies.base import Proxy


def params(net: nn.Module, batch: Batch) -> float:
    """Number of parameters of the modules that take part; equals the network's own count where all do."""
    ran = layers_that_run(net, batch.images, (nn.Module,))
    tensors = {id(tensor): tensor for each in ran for tensor in each.parameters}
    return float(sum(tensor.numel() for tensor in tensors.values()))


PARAMS = Proxy("params", (params,), "control", batch_norm="none", dtype="int")
