"""nwot sees every activation, as a module or as a function, and refuses a network that has none."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.initialization import initialize
from zcpt_ray.engine.layers import GlobalPool, Stem
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp
from zcpt_ray.engine.supernet import MaskedSupernet, Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, score_archs
from zcpt_ray.proxies.nwot import relu_kernel


class Net(nn.Module):
    """A convolution, an activation and a linear layer."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.linear = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)
        self.act = act
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.act(self.conv(x)).mean((2, 3)))


MODULES = (
    *(nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.RReLU(), nn.ELU(), nn.CELU()),
    *(nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.SiLU(inplace=True), nn.Mish(), nn.Hardswish()),
    *(nn.Softplus(), nn.Threshold(0, 0), nn.Hardtanh(0, 2)),
)
FUNCTIONS = (
    *(F.relu, lambda x: F.relu(x, inplace=True), torch.relu, torch.relu_, lambda x: x.relu(), lambda x: x.relu_()),
    *(F.gelu, F.silu, F.hardswish, F.leaky_relu, F.mish, lambda x: F.relu(input=x)),
)


@pytest.mark.parametrize("act", [*MODULES, *FUNCTIONS])
def test_the_code_is_the_sign_of_what_an_activation_reads(act: Callable[[Tensor], Tensor], batch: Batch) -> None:
    net = Net(act).eval()
    with torch.no_grad():
        bits = (net.conv(batch.images) > 0).flatten(1).numpy()
    expected = (bits[:, None] == bits[None]).sum(2)
    assert np.array_equal(relu_kernel(net, batch.images), expected)
    score = PROXIES["nwot"].measures[0](net, batch)
    assert score == pytest.approx(np.linalg.slogdet(expected.astype(float))[1])
    assert np.isfinite(score)


@pytest.mark.parametrize("act", [torch.sigmoid, nn.Tanh(), nn.Hardsigmoid(), nn.Identity()])
def test_a_network_without_activations_is_refused(act: Callable[[Tensor], Tensor], batch: Batch) -> None:
    for name in ("nwot", "nwot-released"):
        with pytest.raises(UserError, match=r"this network has none that it knows \(celu, elu, gelu, .*softplus, th"):
            PROXIES[name].measures[0](Net(act), batch)


class ConvAct(CandidateOp):
    """An op of the user's own: a convolution and an activation."""

    def __init__(self, channels: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(2, channels)
        self.act = act

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return self.act(self.norm(self.conv(x))) if active else None


def supernet(acts: dict[str, Callable[[Tensor], Tensor]]) -> Supernet:
    edge = Edge("layer", (*acts, "skip_connect"))
    ops = {name: lambda channels, act=act: ConvAct(channels, act) for name, act in acts.items()}
    layers = {"stem": Stem(3, 4), "cell": Cell({0: (edge, 0, 1)}, 4, ops | {"skip_connect": CELL_OPS["skip_connect"]})}
    return Supernet((edge,), layers | {"pool": GlobalPool()}, 4, 10)


@pytest.mark.parametrize("proxy", ["nwot", "nwot-released"])
def test_ops_with_any_activation_are_told_apart(proxy: str, batch: Batch) -> None:
    acts = {"gelu": nn.GELU(), "silu": F.silu, "prelu": nn.PReLU()}
    net = initialize(lambda: supernet(acts), seed=0)
    arch = PartialArch.all_open(net.edges)
    archs = [arch.perturb(0, op) for op in net.edges[0].candidates]
    scores = score_archs(PROXIES[proxy], net, archs, batch)
    assert np.isfinite(scores).all()
    assert len(set(scores)) == len(scores)
    plain = [PROXIES[proxy].measure(MaskedSupernet(net, each), batch)[0] for each in archs]
    np.testing.assert_allclose(scores, plain, rtol=1e-5)
    net = initialize(lambda: supernet({"tanh": torch.tanh}), seed=0)
    with pytest.raises(UserError, match="this network has none that it knows"):
        score_archs(PROXIES[proxy], net, [PartialArch.all_open(net.edges)], batch)
