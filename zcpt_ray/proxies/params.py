"""params: the number of parameters, a control that any proxy should beat."""

from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import layers_that_run
from zcpt_ray.proxies.base import Proxy


def params(net: nn.Module, batch: Batch) -> float:
    """Number of parameters of the modules that take part; equals the network's own count where all do."""
    modules = {module for module, _ in layers_that_run(net, batch.images, (nn.Module,))}
    return float(sum(parameter.numel() for module in modules for parameter in module.parameters(False)))


PARAMS = Proxy("params", (params,), "control", batch_norm="none", dtype="int")
