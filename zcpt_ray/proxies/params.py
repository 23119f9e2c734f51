"""params: the number of parameters, a control that any proxy should beat."""

import torch
from torch import nn

from zcpt_ray.data import Batch
from zcpt_ray.layers import eval_mode
from zcpt_ray.proxies.base import Proxy, running_layers


def params(net: nn.Module, batch: Batch) -> float:
    """Number of parameters of the modules that take part; equals the network's own count where all do."""
    with eval_mode(net), torch.no_grad(), running_layers(net, (nn.Module,)) as ran:
        net(batch.images[:1])
    return float(sum(parameter.numel() for module in {module for module, _ in ran} for parameter in module.parameters(False)))


PARAMS = Proxy("params", (params,), "control", batch_norm="none", dtype="int")
