import pytest
import torch
from torch import nn

from zcpt_ray.engine.ops import CELL_OPS, ReLUConvBN, skip_and_pool, weighted_sum


def randomized(op: nn.Module) -> nn.Module:
    """In eval mode, with the statistics of a trained batch norm."""
    for module in op.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                tensor.data.uniform_(0.5, 1.5)
    return op.eval()


def apply(form, x: torch.Tensor) -> torch.Tensor:
    out = skip_and_pool(x, form.skip, form.pool)
    if form.kernel is not None:
        out = out + nn.functional.conv2d(x.relu(), form.kernel, form.bias, padding=form.kernel.shape[-1] // 2)
    return out


@pytest.mark.parametrize("name", CELL_OPS)
def test_the_linear_form_is_the_op(name: str) -> None:
    op = randomized(CELL_OPS[name](4))
    x = torch.randn(2, 4, 6, 5)
    out = op(x)
    torch.testing.assert_close(apply(op.linear_form(), x), torch.zeros_like(x) if out is None else out)


def test_a_weighted_sum_is_the_sum_of_the_ops() -> None:
    ops = [randomized(make(4)) for make in CELL_OPS.values()]
    weights = [0.1, 0.2, 0.3, 0.4, 0.5]
    x = torch.randn(2, 4, 6, 5)
    form = weighted_sum((op.linear_form() for op in ops), weights)
    torch.testing.assert_close(
        apply(form, x), sum(w * op(x) for w, op in zip(weights, ops, strict=True) if op(x) is not None)
    )
    assert form.relus == 2
    assert weighted_sum((op.linear_form() for op in ops), [1, 1, 0, 1, 1]).relus == 1
    assert weighted_sum((op.linear_form() for op in ops), [1, 1, 1, 0, 1]).kernel.shape[-1] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (3, 2), (7, 5)])
@pytest.mark.parametrize("skip", [0.0, 0.3, 1.0])
def test_an_average_pool_counts_what_lies_inside(size: tuple[int, int], skip: float) -> None:
    x = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    pooled = nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(skip_and_pool(x, skip, 0.7), skip * x + 0.7 * pooled)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", CELL_OPS)
def test_an_inactive_op_adds_nothing(name: str) -> None:
    assert CELL_OPS[name](4)(torch.randn(2, 4, 6, 5), active=False) is None


def test_the_relu_of_an_inactive_op_sees_zeros() -> None:
    op, seen = ReLUConvBN(4, 4, 3), []
    op.relu.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    op(torch.randn(2, 4, 6, 5), active=False)
    assert not seen[0].any()
