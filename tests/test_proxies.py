import math

import numpy as np
import pytest
import torch
from torch import nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.data import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.ops import ReLUConvBN
from zcpt_ray.proxies import PROXIES, Proxy, score_archs
from zcpt_ray.proxies.nwot import agreement
from zcpt_ray.spaces.nasbench201 import NASBench201
from zcpt_ray.supernet import MaskedSupernet

by_name = pytest.mark.parametrize("proxy", PROXIES.values(), ids=lambda proxy: proxy.name)


@by_name
def test_finite_repeatable_and_the_network_stays_as_it_was(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    supernet = small_space.supernet(10, seed=0).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    arch = PartialArch.all_open(small_space.edges)
    plain = [proxy.score(MaskedSupernet(supernet, arch), batch) for _ in range(2)]
    batched = [score_archs(proxy, supernet, [arch], batch)[0] for _ in range(2)]
    assert math.isfinite(plain[0])
    assert plain[0] == plain[1]
    assert batched[0] == batched[1] == pytest.approx(plain[0], rel=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
    supernet.layers[1].eval()
    proxy.score(MaskedSupernet(supernet, arch), batch)
    score_archs(proxy, supernet, [arch], batch)
    assert not any(module.training for module in supernet.layers[1].modules())
    supernet.train()
    assert all(module.training and not module._forward_pre_hooks for module in supernet.modules())


@by_name
def test_greater_is_better(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """The best network of NAS-Bench-201 scores above one that only averages."""
    texts = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|avg_pool_3x3~0|none~1|none~2|",
    )
    good, bad = (proxy.score(small_space.network(small_space.decode(text), 10, seed=0), batch) for text in texts)
    assert good > bad


def two_relus() -> nn.Sequential:
    net = nn.Sequential(nn.ReLU(), nn.Linear(2, 2, bias=False), nn.ReLU())
    net[1].weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return net


def test_nwot_by_hand() -> None:
    """Inputs (1, -1), (2, 1), (-1, 3): codes of the first ReLU 10, 11, 01; of the second, on (1, -1), (1, -1), (-3, 3): 10, 10, 01.

    Of 4 units the images 1 and 2 share 3, 1 and 3 share 0, 2 and 3 share 1: det [[4, 3, 0], [3, 4, 1], [0, 1, 4]] = 24.
    """
    batch = Batch(torch.tensor([[1.0, -1.0], [2.0, 1.0], [-1.0, 3.0]]), torch.zeros(3, dtype=torch.int64))
    assert PROXIES["nwot"].score(two_relus(), batch) == pytest.approx(math.log(24))


def test_the_released_reading_counts_blocks_too(batch: Batch) -> None:
    """One ReLU-conv-BN block: its ReLU's code counts twice, so K doubles and its log-determinant grows by B ln 2."""
    net = nn.Sequential(ReLUConvBN(3, 3, 1))
    text, released = (PROXIES[name].score(net, batch) for name in ("nwot", "nwot-released"))
    assert released - text == pytest.approx(len(batch.images) * math.log(2))


def test_agreement_counts_equal_units() -> None:
    code = torch.rand(9, 333) > 0.5
    expected = (code[:, None] == code[None]).sum(-1)
    assert torch.equal(agreement(code).long(), expected)


def test_images_of_one_code_make_the_kernel_singular() -> None:
    batch = Batch(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
    assert PROXIES["nwot"].score(two_relus(), batch) == -math.inf


def test_nan_is_an_error(small_space: NASBench201, batch: Batch) -> None:
    broken = Proxy("broken", lambda net, batch: math.nan, "test")
    with pytest.raises(UserError, match="'broken' gave NaN"):
        score_archs(broken, small_space.supernet(10, 0), [PartialArch.all_open(small_space.edges)], batch)


def test_a_proxy_without_batching_sees_each_architecture(small_space: NASBench201, batch: Batch) -> None:
    supernet = small_space.supernet(10, 0)
    arch = PartialArch.all_open(small_space.edges)
    archs = [arch.perturb(0, op) for op in small_space.edges[0].candidates]
    plain = Proxy("plain", PROXIES["nwot"].score, "test")
    np.testing.assert_allclose(
        score_archs(plain, supernet, archs, batch), score_archs(PROXIES["nwot"], supernet, archs, batch), rtol=1e-5
    )


@pytest.mark.gpu
@by_name
def test_a_gpu_gives_the_same_scores(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    arch = PartialArch.all_open(small_space.edges)
    archs = [arch.perturb(0, op) for op in small_space.edges[0].candidates]
    supernet = small_space.supernet(10, 0)
    cpu = score_archs(proxy, supernet, archs, batch)
    cuda = score_archs(proxy, supernet.cuda(), archs, Batch(batch.images.cuda(), batch.labels.cuda()))
    np.testing.assert_allclose(cuda, cpu, rtol=1e-5)
