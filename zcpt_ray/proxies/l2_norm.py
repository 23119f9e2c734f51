"""l2_norm: how large the weights are (Abdelfattah et al. 2021), a control that knows no data."""

from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import layers_that_run, weights_of
from zcpt_ray.proxies.base import Proxy


def l2_norm(net: nn.Module, batch: Batch) -> float:
    """Sum over convolutions and linear layers of the L2 norm of the weight, >= 0."""
    return float(sum(weight.detach().norm() for weight in weights_of(layers_that_run(net, batch.images))))


L2_NORM = Proxy("l2_norm", (l2_norm,), "Abdelfattah et al. 2021", batch_norm="none")
