"""fisher: how much the loss would change without each channel, to second order.

Theis et al. 2018; Turner et al. 2020.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, running_layers
from zcpt_ray.proxies.base import Proxy, in_memory_order


def fisher(net: nn.Module, batch: Batch) -> float:
    """Sum over the output channels a of convolutions and linear layers of 0.5 mean_b((sum_hw a g)^2); >= 0.

    g = dL/da. Each channel counts as often as it has weights, as in zero-cost-nas.
    """
    with batch_statistics(net):
        with running_layers(net) as ran:
            loss = F.cross_entropy(net(in_memory_order(batch.images)), batch.labels)
        outputs = [each.output for each in ran]
        gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)
    information = [_information(output.detach(), gradient) for output, gradient in zip(outputs, gradients, strict=True)]
    times = [each.weight[0].numel() for each in ran]
    values: list[float] = torch.stack(information).tolist()
    return sum(count * value for count, value in zip(times, values, strict=True))


def _information(output: Tensor, gradient: Tensor) -> Tensor:
    product = output * gradient
    if product.dim() == 4:
        product = product.flatten(2).sum(2)
    elif product.dim() == 3:  # [B, T, C]
        product = product.sum(1)
    per_channel: Tensor = product  # [B, C]
    return 0.5 * per_channel.square().mean(0).sum()


FISHER = Proxy(
    "fisher", (fisher,), "Theis et al. 2018, in the form of zero-cost-nas", needs=("images", "labels", "gradients")
)
