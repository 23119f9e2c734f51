"""vkdnw: how evenly a network's empirical Fisher information is spread (Tybl and Neumann 2025)."""

import math
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import eval_mode, own_parameters, running_layers
from zcpt_ray.proxies.base import Proxy, in_memory_order

VKDNW_IMAGES = 16
"""Images of the minibatch that the information is taken over. Each costs a backward pass for each class."""
MOST_TENSORS = 128
"""Parameters that it is taken of: the first element of each of the first tensors."""
SMOOTHING = 0.05
DECILES = np.arange(1, 10) / 10
DECILE_EPSILON = 1e-10


def vkdnw(net: nn.Module, batch: Batch) -> float:
    """Entropy of the Fisher matrix's deciles, 0 to log 9, plus the number of parameter tensors, as the paper adds them.

    So the number decides, and the entropy between networks of one number. In eval mode and in float64: what float32
    leaves of the lower deciles is rounding.
    """
    logits, jacobians, count = jacobians_of_first_elements(net, batch.images[:VKDNW_IMAGES])
    return count + decile_entropy(fisher_deciles(logits, jacobians))


def jacobians_of_first_elements(net: nn.Module, images: Tensor) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits [B, K]; their derivatives [B, K, P] by the first elements; of how many tensors those are the first P.

    Tensors are the parameters of what runs, in the order of `named_parameters`.
    """
    net = deepcopy(net).double()
    logits, rows, tensors = [], [], None
    with eval_mode(net):
        for image in torch.split(in_memory_order(images.double()), 1):
            with running_layers(net, (nn.Module,)) as ran:
                (found,) = net(image)
            used = {id(tensor) for each in ran for tensor in own_parameters(each.layer)}
            tensors = tensors or [tensor for tensor in net.parameters() if id(tensor) in used]
            each = torch.eye(len(found), dtype=torch.float64, device=found.device)
            gradients = torch.autograd.grad(
                found, tensors[:MOST_TENSORS], each, is_grads_batched=True, allow_unused=True
            )
            zeros = torch.zeros_like(each[0])
            logits.append(found.detach())
            rows.append(torch.stack([zeros if part is None else part.flatten(1)[:, 0] for part in gradients], 1))
    assert tensors is not None
    numbers = [torch.stack(each).cpu().numpy() for each in (logits, rows)]
    return numbers[0], numbers[1], len(tensors)


def fisher_deciles(logits: np.ndarray, jacobians: np.ndarray) -> np.ndarray:
    """Quantiles .1 to .9 of the singular values of F = mean_b (L_b J_b)^T (L_b J_b), float64 [9].

    L_b is the triangular factor of diag(q) - q q^T, q the smoothed probabilities. With L^T in place of L this would be
    the Fisher information.
    """
    weights = np.exp(logits - logits.max(1, keepdims=True))
    factors = np.stack([_factor(q) for q in _smoothed(weights / weights.sum(1, keepdims=True))])
    weighted = (factors @ jacobians).reshape(-1, jacobians.shape[2])
    deciles: np.ndarray = np.quantile(np.linalg.svd(weighted.T @ weighted / len(logits), compute_uv=False), DECILES)
    return deciles


def decile_entropy(deciles: np.ndarray) -> float:
    """-sum_i t_i log t_i of the deciles' shares t_i; 0 where all are 0."""
    shares = deciles / (deciles.sum() + DECILE_EPSILON)
    return -float((shares * np.log(shares + DECILE_EPSILON)).sum())


def _smoothed(probabilities: np.ndarray) -> np.ndarray:
    """5 % spread evenly over the classes; both factors in half precision, as published code has them."""
    smoothing, classes = np.float16(SMOOTHING), np.float16(probabilities.shape[1])
    keep, spread = np.float16(1) - smoothing, smoothing / classes
    return probabilities * float(keep) + float(spread)


def _factor(q: np.ndarray) -> np.ndarray:
    """Lower triangular L with L L^T = diag(q) - q q^T (Tanabe and Sagae 1992); its last column is 0."""
    left = 1 - np.concatenate([[0.0], np.cumsum(q)])  # Q_0 to Q_K
    factor = np.zeros((len(q), len(q)))
    for j in range(len(q) - 1):
        factor[j, j] = math.sqrt(q[j] * left[j + 1] / left[j])
        factor[j + 1 :, j] = -q[j + 1 :] * math.sqrt(q[j] / (left[j + 1] * left[j]))
    return factor


VKDNW = Proxy(
    "vkdnw",
    (vkdnw,),
    "Tybl and Neumann 2025 (arXiv 2502.04975); with the factor of its released code",
    batch_norm="running",
    dtype="float64",
    needs=("images", "gradients"),
    removed_op="nothing: its tensors are not among those that count",
    nan="an entropy of 0 where no gradient reaches the logits",
)
