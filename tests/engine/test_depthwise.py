import pytest
import torch
from torch import nn

from zcpt_ray.engine.depthwise import DepthwiseConv2d, speed_up_depthwise
from zcpt_ray.spaces import SPACES


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("image", [(8, 12), (7, 8), (2, 2)])
def test_gradients_are_those_of_torch(size: int, dilation: int, image: tuple[int, int]) -> None:
    torch.manual_seed(0)
    padding = dilation * (size // 2)
    net = nn.Sequential(nn.Conv2d(5, 5, size, padding=padding, dilation=dilation, groups=5, bias=False))
    x, of_output = (torch.randn(3, 5, *image).to(memory_format=torch.channels_last) for _ in range(2))
    found = []
    for _ in ("torch's", "ours"):
        read = x.clone().requires_grad_()
        out = net(read)
        found.append((out.detach(), *torch.autograd.grad(out, [read, net[0].weight], of_output)))
        speed_up_depthwise(net)
    assert isinstance(net[0], DepthwiseConv2d)
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_is_replaced() -> None:
    space = SPACES["mobilenet"]
    with torch.device("meta"):
        net = space.trained_form(space.edges, 10)
    before = dict(net.named_parameters())
    speed_up_depthwise(net)
    assert {name: id(parameter) for name, parameter in net.named_parameters()} == {
        name: id(p) for name, p in before.items()
    }
    replaced = [module for module in net.modules() if isinstance(module, DepthwiseConv2d)]
    assert {module.kernel_size[0] for module in replaced} == {3, 5, 7}
    assert all(module.groups == module.in_channels and module.stride == (1, 1) for module in replaced)
