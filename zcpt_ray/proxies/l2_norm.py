"""l2_norm: how large the weights are (Abdelfattah et al. 2021), a control that knows no data."""

import torch
from torch import nn

from zcpt_ray.data import Batch
from zcpt_ray.layers import eval_mode
from zcpt_ray.proxies.base import Proxy, running_layers, weights_of


def l2_norm(net: nn.Module, batch: Batch) -> float:
    """Sum over convolutions and linear layers of the L2 norm of the weight, >= 0."""
    with eval_mode(net), torch.no_grad():
        with running_layers(net) as ran:
            net(batch.images[:1])
        return float(sum(weight.norm() for weight in weights_of(ran)))


L2_NORM = Proxy("l2_norm", (l2_norm,), "Abdelfattah et al. 2021", batch_norm="none")
