"""What takes the steps of a training."""

from typing import Any

import torch
from torch import nn

from zcpt_ray.training.recipes import Recipe


def optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; with weight decay on everything, or on the weights of convolutions and linear layers only."""
    parameters = list(net.parameters())
    decayed = [parameter for parameter in parameters if recipe.decay_all or parameter.dim() > 1]
    groups: list[dict[str, Any]] = [{"params": decayed}]
    if len(decayed) < len(parameters):
        groups.append({"params": [parameter for parameter in parameters if parameter.dim() <= 1], "weight_decay": 0.0})
    if recipe.adamw:
        return torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        groups,
        recipe.learning_rate,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )
