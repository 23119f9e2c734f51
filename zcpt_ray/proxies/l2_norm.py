"""l2_norm: how large the weights are (Abdelfattah et al. 2021), a control that knows no data."""

from torch import nn

from zcpt_ray.data import Batch
from zcpt_ray.proxies.base import Proxy, layers_that_run, weights_of


def l2_norm(net: nn.Module, batch: Batch) -> float:
    """Sum over convolutions and linear layers of the L2 norm of the weight, >= 0."""
    return float(sum(weight.detach().norm() for weight in weights_of(layers_that_run(net, batch))))


L2_NORM = Proxy("l2_norm", (l2_norm,), "Abdelfattah et al. 2021", batch_norm="none")
