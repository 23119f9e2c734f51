import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.pointwise import PointwiseConv2d, make_pointwise_safe, safe_pointwise
from zcpt_ray.proxies import PROXIES
from zcpt_ray.proxies.base import score_network
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.darts.candidates import everywhere
from zcpt_ray.spaces.darts.space import DARTS_SPACES, Darts
from zcpt_ray.spaces.nasbench_macro import NASBenchMacro

SMALL = {
    "darts": Darts("darts", everywhere(*DARTS_SPACES[0].edges[0].candidates), op_weight=1 / 8, channels=2, num_cells=3),
    "nasbench-macro": NASBenchMacro(stem=4, widths=(4, 6, 8), head=8),
}

GRADIENTS = """
import torch
from torch import nn
from zcpt_ray.engine.pointwise import make_pointwise_safe

torch.set_num_threads(1)
for channels, outputs, size in [(2, 1, 8), (1, 4, 8), (3, 8, 16), (4, 8, 32), (7, 16, 32), (4, 8, 128), (15, 16, 128)]:
    net = nn.Sequential(nn.Conv2d(channels, outputs, 1, stride=2))
    make_pointwise_safe(net)
    for _ in range(20):
        images = torch.randn(8, channels, size, size).to(memory_format=torch.channels_last)
        net(images).sum().backward()
"""


@pytest.mark.parametrize("instructions", ["AVX2", "ALL"])
def test_gradients_leave_the_heap_whole(instructions: str) -> None:
    """In a process of its own: with `nn.Conv2d` as it is, it dies."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("channels", [1, 2, 4, 7, 15])
@pytest.mark.parametrize("outputs", [1, 8, 13])
@pytest.mark.parametrize("image", [(2, 2), (8, 8), (7, 16), (1, 3)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 3)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_it_is_the_convolution(
    channels: int, outputs: int, image: tuple[int, int], stride: tuple[int, int], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, outputs, 1, stride))
    make_pointwise_safe(net)
    conv = net[0]
    assert isinstance(conv, PointwiseConv2d)
    read = torch.randn(3, channels, *image).to(memory_format=memory_format).requires_grad_()
    out = conv(read)
    of_output = torch.randn_like(out)
    ours = [out, *torch.autograd.grad(out, [read, conv.weight, conv.bias], of_output)]
    exact = [tensor.detach().double().contiguous().requires_grad_() for tensor in (read, conv.weight, conv.bias)]
    expected = F.conv2d(*exact, stride)
    theirs = [expected, *torch.autograd.grad(expected, exact, of_output.double())]
    for found, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-5)


def test_groups_and_single_images() -> None:
    torch.manual_seed(0)
    conv, images = nn.Conv2d(6, 4, 1, 2, groups=2, bias=False), torch.randn(2, 6, 5, 4)
    expected = conv(images)
    with safe_pointwise(conv):
        assert isinstance(conv, PointwiseConv2d)
        torch.testing.assert_close(conv(images), expected)
        torch.testing.assert_close(conv(images[0]), expected[0])
    assert type(conv) is nn.Conv2d


def test_what_is_replaced() -> None:
    wide, padded, whole, large = (
        nn.Conv2d(16, 8, 1, 2),
        nn.Conv2d(4, 8, 1, 2, padding=1),
        nn.Conv2d(4, 8, 1),
        nn.Conv2d(4, 8, 3, 2),
    )
    narrow = nn.Conv2d(15, 8, 1, (1, 2), padding="valid")
    assert make_pointwise_safe(nn.ModuleList([wide, padded, whole, large, narrow])) == [narrow]


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_have_none_left(name: str) -> None:
    net = SMALL[name].supernet(10, seed=0)
    assert any(isinstance(module, PointwiseConv2d) for module in net.modules())
    assert not make_pointwise_safe(net)


@pytest.mark.parametrize("name", ["darts", "darts-imagenet", "nasbench-macro", "mobilenet"])
def test_networks_of_usual_size_are_as_they_were(name: str) -> None:
    with torch.device("meta"):
        net = SPACES[name].build(SPACES[name].edges, 10)
    assert not make_pointwise_safe(net)


def test_ones_own_network_is_safe_while_it_is_scored() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1, 2), nn.Flatten())
    seen: list[type[nn.Module]] = []
    net[0].register_forward_hook(lambda module, *_: seen.append(type(module)))
    score_network(PROXIES["grad_norm"], net, Batch(torch.randn(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)))
    assert seen == [PointwiseConv2d]
    assert type(net[0]) is nn.Conv2d
