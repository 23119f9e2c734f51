"""fisher: how much the loss would change without each channel, to second order (Theis et al. 2018; Turner et al. 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.data import Batch
from zcpt_ray.layers import batch_statistics
from zcpt_ray.proxies.base import Proxy, in_memory_order, running_layers


def fisher(net: nn.Module, batch: Batch) -> float:
    """Over the output channels a of every convolution and linear layer, with g = dL/da: 0.5 mean_b((sum_hw a g)^2), >= 0.

    Each channel counts as often as it has weights, as zero-cost-nas does.
    """
    with batch_statistics(net):
        with running_layers(net) as ran:
            loss = F.cross_entropy(net(in_memory_order(batch.images)), batch.labels)
        outputs = [output for _, output in ran]
        gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)
    return sum(
        _information(output.detach(), gradient) * layer.get_parameter("weight")[0].numel()
        for (layer, output), gradient in zip(ran, gradients, strict=True)
    )


def _information(output: Tensor, gradient: Tensor) -> float:
    per_channel = (output * gradient).flatten(2).sum(2) if output.dim() == 4 else output * gradient  # [B, C]
    return 0.5 * float(per_channel.square().mean(0).sum())


FISHER = Proxy("fisher", (fisher,), "Theis et al. 2018, in the form of zero-cost-nas", needs=("images", "labels", "gradients"))
