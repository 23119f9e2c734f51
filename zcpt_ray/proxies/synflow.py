"""synflow: how much flows through each weight when all are positive (Tanaka et al. 2020; eq. 10 of the paper)."""

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import eval_mode, hooked
from zcpt_ray.engine.module_kinds import BATCH_NORMS, WEIGHTED, when_flowing
from zcpt_ray.proxies.base import Proxy

SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


def synflow(net: nn.Module, batch: Batch) -> float:
    """log sum abs(dR/dtheta * theta), with R the sum of the outputs on one image of ones; -inf where nothing flows.

    Weights are replaced by their absolute values, norms by the identity, activations by ReLUs (at a cap nothing would
    flow), all in float64: the sum itself overflows float32 on deep networks. Attention mixes tokens evenly, as numbers
    that grow from layer to layer leave a softmax nothing else to say but which is largest; so queries and keys do not
    count. Gates stay as they are. Of the minibatch only the image size counts.
    """
    tensors = {name: tensor.detach().double().abs() for name, tensor in net.named_parameters()}
    for name, module in net.named_modules():
        if isinstance(module, BATCH_NORMS):
            identity = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - module.eps}
            ones = torch.ones(module.num_features, dtype=torch.float64, device=batch.images.device)
            there = {key: value for key, value in identity.items() if module.affine or key.startswith("running")}
            tensors |= {f"{name}.{key}": value * ones for key, value in there.items()}
    weights = [
        tensors[f"{name}.{'in_proj_' * isinstance(module, nn.MultiheadAttention)}weight".strip(".")]
        for name, module in net.named_modules()
        if isinstance(module, WEIGHTED)
    ]
    for weight in weights:
        weight.requires_grad_()
    image = torch.ones_like(batch.images[:1], dtype=torch.float64)
    with eval_mode(net), flowing(net), _EvenAttention():
        flow = functional_call(net, tensors, image).sum()
        gradients = torch.autograd.grad(flow, weights, materialize_grads=True)
    total = float(
        sum((gradient * weight).detach().abs().sum() for gradient, weight in zip(gradients, weights, strict=True))
    )
    return math.log(total) if total else -math.inf  # of NaN, NaN


def flowing(net: nn.Module) -> AbstractContextManager[None]:
    """Inside, activations of `net` are ReLUs, also those that have a cap, and norms are the identity."""
    stand_ins = {"relu": lambda _, inputs, __: inputs[0].relu(), "identity": lambda _, inputs, __: inputs[0]}
    kinds = [(module, when_flowing(module)) for module in net.modules()]
    return hooked([module.register_forward_hook(stand_ins[kind]) for module, kind in kinds if kind in stand_ins])


class _EvenAttention(TorchFunctionMode):
    """Gives all equal shares in place of a softmax."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function is F.scaled_dot_product_attention:
            queries, _, values = args[:3]
            return values.mean(-2, keepdim=True).expand(*queries.shape[:-1], values.shape[-1])
        if function in SOFTMAX:
            dim = args[1] if len(args) > 1 else given["dim"]
            return torch.full_like(args[0], 1 / args[0].shape[dim])
        return function(*args, **given)


SYNFLOW = Proxy(
    "synflow",
    (synflow,),
    "Tanaka et al. 2020, eq. 10",
    direction="log of what is published: the same ranking, and sums over minibatches that do not lose it",
    batch_norm="bypassed",
    dtype="float64",
    needs=("gradients",),
    nan="-inf where no path leads from input to output",
)
