import math
import pickle

import numpy as np
import pytest
import torch
from device_looks import DeviceLooks
from torch import nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.benchmarks.tables import load_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.engine.supernet import MaskedSupernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, Proxy, measure_archs, score_archs
from zcpt_ray.proxies.base import score_network
from zcpt_ray.proxies.tenas import linear_regions, negative_condition_number, random_crops, rank_sum
from zcpt_ray.search.resolved import Search
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.nasbench201 import NASBench201

by_name = pytest.mark.parametrize("proxy", PROXIES.values(), ids=lambda proxy: proxy.name)
LOG3 = math.log(3)


@by_name
def test_finite_repeatable_and_the_network_stays_as_it_was(
    proxy: Proxy, small_space: NASBench201, batch: Batch
) -> None:
    supernet = small_space.supernet(10, seed=0).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    arch = PartialArch.all_open(small_space.edges).perturb(0, "nor_conv_3x3").discretize(5, ("none",))
    plain = [proxy.measure(MaskedSupernet(supernet, arch), batch) for _ in range(2)]
    batched = [measure_archs(proxy, supernet, [arch], batch)[0] for _ in range(2)]
    assert all(math.isfinite(value) for value in plain[0])
    assert plain[0] == plain[1]
    assert batched[0] == batched[1] == pytest.approx(plain[0], rel=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in supernet.parameters())
    supernet.layers[1].eval()
    proxy.measure(MaskedSupernet(supernet, arch), batch)
    measure_archs(proxy, supernet, [arch], batch)
    assert not any(module.training for module in supernet.layers[1].modules())
    supernet.train()
    assert all(
        module.training and not module._forward_pre_hooks and not module._forward_hooks for module in supernet.modules()
    )
    assert all(module.track_running_stats for module in supernet.modules() if isinstance(module, nn.BatchNorm2d))


@by_name
def test_a_score_is_looked_at_once(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """On a GPU each look at a number waits for all that runs there."""
    network = small_space.supernet(10, seed=0)
    for arch in (PartialArch.all_open(network.edges), PartialArch.all_open(network.edges).perturb(0, "nor_conv_3x3")):
        with DeviceLooks() as looks:
            proxy.measure(MaskedSupernet(network, arch), batch)
        assert looks.count <= len(proxy.measures)


@by_name
def test_greater_is_better(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """The best network of NAS-Bench-201 scores above one that is cut in two."""
    texts = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    )
    networks = [small_space.network(small_space.decode(text), 10, seed=0) for text in texts]
    good, bad = proxy.combine([proxy.measure(network, batch) for network in networks])
    assert good > bad


@by_name
def test_a_network_alone_is_what_the_supernet_says_of_it(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """Nothing that the architecture does not keep contributes."""
    archs = [small_space.arch(index) for index in (7000, 7001, 12345)]
    supernet = small_space.supernet(10, seed=3)
    partial = [PartialArch(small_space.edges, arch.kept) for arch in archs]
    together = measure_archs(proxy, supernet, partial, batch, alone=True)
    alone = [proxy.measure(small_space.network(arch, 10, seed=3), batch) for arch in archs]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@by_name
def test_removing_none_changes_nothing(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    arch = PartialArch.all_open(small_space.edges)
    supernet = small_space.supernet(10, 0)
    whole, without = (proxy.measure(MaskedSupernet(supernet, each), batch) for each in (arch, arch.perturb(1, "none")))
    assert whole == without


@by_name
def test_a_network_that_is_cut_in_two_is_no_error(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    arch = PartialArch(small_space.edges, (("none",),) * 6)
    (measured,) = measure_archs(proxy, small_space.supernet(10, 0), [arch], batch, alone=True)
    assert all(value < math.inf for value in measured)


@by_name
def test_a_row_says_what_a_user_should_know(proxy: Proxy) -> None:
    assert proxy.reference
    assert proxy.batch_norm in ("batch", "running", "bypassed", "none")
    assert ("gradients" in proxy.needs) <= (proxy.batch_norm != "running" or proxy.name == "vkdnw")
    assert proxy.minibatches >= 1


@by_name
def test_a_proxy_travels(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """As a pickle, as it does to Ray's workers."""
    there, arch = pickle.loads(pickle.dumps(proxy)), PartialArch.all_open(small_space.edges)
    one, other = (measure_archs(each, small_space.supernet(10, seed=0), [arch], batch) for each in (proxy, there))
    assert one == other


def linear(*rows: tuple[float, ...]) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(len(rows[0]), len(rows), bias=False))
    net[0].weight.data = torch.tensor(rows)
    return net


def one_image(*values: float) -> Batch:
    return Batch(torch.tensor([values]), torch.tensor([0]))


HALF = linear((LOG3 / 2,), (0.0,))
"""On the image (2) of class 0: logits (ln 3, 0), probabilities (3/4, 1/4), dL/dlogits (-1/4, 1/4), dL/dW (-1/2, 1/2).

The Hessian by W is x^2 p1 p2 [[1, -1], [-1, 1]] = 3/4 [[1, -1], [-1, 1]], so H dL/dW = (-3/4, 3/4).
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grad_norm", math.sqrt(0.5)),
        ("snip", 0.5 * LOG3 / 2),
        ("grasp", 0.75 * LOG3 / 2),
        ("fisher", 0.5 * (LOG3 / 4) ** 2),  # channel 1: a g = -ln 3 / 4, one weight; channel 2: 0
        ("synflow", math.log(LOG3 / 2)),  # on an image (1)
        ("l2_norm", LOG3 / 2),
        ("params", 2),
        ("flops", 2),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert PROXIES[name].measure(HALF, one_image(2.0)) == pytest.approx((expected,), rel=1e-6)


def test_jacob_cov_by_hand() -> None:
    """A linear network has one gradient for all images: of 2, correlations are all 1, eigenvalues 2 and 0."""
    batch = Batch(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), torch.tensor([0, 1]))
    expected = -(math.log(2 + 1e-5) + 1 / (2 + 1e-5) + math.log(1e-5) + 1e5)
    assert PROXIES["jacob_cov"].measure(linear((1.0, 0.0), (0.0, 2.0)), batch) == pytest.approx((expected,), rel=1e-6)


def test_zico_by_hand() -> None:
    """Weights 0, images (2) and (1), one in each half: gradients (-1, 1) and (-1/2, 1/2).

    Of both weights the mean is 3/4 and the deviation 1/4: log(3 + 3).
    """
    batch = Batch(torch.tensor([[2.0], [1.0]]), torch.tensor([0, 0]))
    assert PROXIES["zico"].measure(linear((0.0,), (0.0,)), batch) == pytest.approx((math.log(6),))


def drawn(shape: tuple[int, ...], seed: int, *parts: str | int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(derive_seed(seed, *parts)))


def test_zen_score_by_hand() -> None:
    """Features w x move by 0.01 w e.

    A batch norm in front normalises them, and its running variance is 0.81 + 0.09 v1 + 0.1 v2.
    """
    batch = Batch(torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64), seed=5)
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1))
    weight, step = drawn((1, 1, 1, 1), 5, "zen_score", "0"), drawn((64, 1, 8, 8), 5, "zen_score", "step")
    moved = math.log(float((0.01 * weight * step).abs().sum((1, 2, 3)).mean()))
    assert PROXIES["zen_score"].measure(net, batch) == pytest.approx((moved,), rel=1e-4)
    net = nn.Sequential(nn.BatchNorm2d(1), *net)
    first = drawn((64, 1, 8, 8), 5, "zen_score", "first input")
    second = first + 0.01 * step
    variance = 0.81 + 0.09 * float(first.var()) + 0.1 * float(second.var())
    one, two = ((x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-5) for x in (first, second))
    moved = math.log(float((drawn((1, 1, 1, 1), 5, "zen_score", "1") * (one - two)).abs().sum((1, 2, 3)).mean()))
    assert PROXIES["zen_score"].measure(net, batch) == pytest.approx((moved + 0.5 * math.log(variance),), rel=1e-4)


class Squeezed(nn.Module):
    """Convolution, batch norm and a gate that pools, as squeeze-excite has it; then `pool`, and a linear layer."""

    def __init__(self, pool: nn.Module | None = None, tracks: bool = True) -> None:
        super().__init__()
        self.pool = pool
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=tracks), nn.ReLU())
        self.squeeze = nn.AdaptiveAvgPool2d(1) if pool else nn.Identity()
        self.last = nn.ReLU()
        self.head = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        x = self.last(x * torch.sigmoid(self.squeeze(x)))
        return self.head(self.pool(x).flatten(1) if self.pool else x.mean((2, 3)))


def test_zen_score_reads_what_the_last_global_pool_reads(batch: Batch) -> None:
    """A pool inside does not count; a pool that is no module, or takes the maximum, changes nothing."""
    scores, distances = [], []
    for pool in (nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)):
        net, seen = Squeezed(pool), []
        pool.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        scores += PROXIES["zen_score"].measure(net, batch)
        assert [tuple(features.shape) for features in seen] == [(12, 4, 30, 30)] * 2
        distances.append(math.log(float((seen[0] - seen[1]).abs().sum((1, 2, 3)).mean())))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert distances[0] == pytest.approx(distances[1], rel=1e-6)
    assert 0 < scores[0] - distances[0] < 1  # the one batch norm
    bare = Squeezed()
    with_module = nn.Sequential(bare.body, bare.squeeze, bare.last)  # the same but for the gate
    assert math.isfinite(PROXIES["zen_score"].measure(bare, batch)[0])
    assert with_module(batch.images).dim() == 4


def test_zen_score_says_what_it_cannot_read(batch: Batch) -> None:
    with pytest.raises(UserError, match="reads the features before global pooling, and nothing here gives any"):
        PROXIES["zen_score"].measure(nn.Flatten(), batch)
    with pytest.raises(UserError, match=r"reads running statistics, and the batch norm 'body.1' keeps none"):
        PROXIES["zen_score"].measure(Squeezed(nn.AdaptiveAvgPool2d(1), tracks=False), batch)


def test_zen_score_leaves_out_skips_that_are_still_a_choice(small_space: NASBench201, batch: Batch) -> None:
    """So removing one changes nothing, and 3x3 convolutions are missed most; a decided skip counts."""
    supernet, arch = small_space.supernet(10, seed=0), PartialArch.all_open(small_space.edges)
    zen = PROXIES["zen_score"]
    (whole,) = score_archs(zen, supernet, [arch], batch)
    ops = small_space.edges[0].candidates
    for edge in arch.open_edges:
        scores = dict(zip(ops, score_archs(zen, supernet, [arch.perturb(edge, op) for op in ops], batch), strict=True))
        assert scores["skip_connect"] == scores["none"] == whole
        assert min(scores, key=scores.__getitem__) == "nor_conv_3x3"
    skip, none = score_archs(zen, supernet, [arch.discretize(5, (op,)) for op in ("skip_connect", "none")], batch)
    assert skip != none


@by_name
def test_networks_and_images_of_other_precision(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """Images are taken as the weights are; in half precision scores would be wrong, and are refused."""
    net, doubles = (small_space.network(small_space.arch(4321), 10, seed=0) for _ in range(2))
    doubles.double()
    if len(proxy.measures) > 1:
        net, score = net, lambda net, batch: sum(proxy.measure(net, batch))
        assert score(doubles, Batch(batch.images.double(), batch.labels)) == pytest.approx(score(net, batch), rel=1e-2)
        return
    expected = score_network(proxy, net, batch)
    for given in (net, doubles):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            other = Batch(batch.images.bfloat16().to(dtype), batch.labels)
            assert score_network(proxy, given, other) == pytest.approx(expected, rel=0.1), (dtype,)
    for half in (torch.bfloat16, torch.float16):
        with pytest.raises(UserError, match=f"scores need weights in float32 or float64, these are {half}"):
            score_network(proxy, net.to(half), Batch(batch.images.to(half), batch.labels))


@by_name
def test_minibatches_that_are_too_small(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    """Said with the number that is needed, before any work."""
    needed = proxy.images_needed()
    if needed == 1:
        return
    few = Batch(batch.images[: needed - 1], batch.labels[: needed - 1])
    net = small_space.supernet(10, seed=0)
    message = f"proxy '{proxy.name}' needs minibatches of at least {needed} images, got {len(few.images)}"
    for score in (
        lambda: proxy.measure(net, few),
        lambda: measure_archs(proxy, net, [PartialArch.all_open(net.edges)], few),
    ):
        with pytest.raises(UserError, match=message):
            score()
    if needed > 2:
        with pytest.raises(UserError, match=f"at least {needed} images, got {needed - 1}"):
            Search.of(SearchConfig(space="toy-chain-1", proxy=proxy.name, batch_size=needed - 1))


@pytest.mark.parametrize(
    ("name", "needed"),
    [("nwot", 2), ("jacob_cov", 3), ("zico", 6), ("grad_norm", 3), ("zen_score", 3), ("params", 1)],
)
def test_how_many_images_are_needed(name: str, needed: int) -> None:
    assert PROXIES[name].images_needed() == needed
    assert PROXIES["zico"].images_needed(has_batch_norms=False) == 2


def test_ntk_by_hand() -> None:
    """One logit: gradients are the images (1, 0) and (1, 1), so the kernel is [[1, 1], [1, 2]].

    Its eigenvalues are (3 ± sqrt 5) / 2.
    """
    batch = Batch(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 0]))
    expected = -(3 + math.sqrt(5)) / (3 - math.sqrt(5))
    assert negative_condition_number(linear((3.0, 4.0)), batch) == pytest.approx(expected)
    same = Batch(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
    assert negative_condition_number(linear((3.0, 4.0)), same) < -1e12


def test_linear_regions_by_hand(batch: Batch) -> None:
    """One ReLU on 9 pixels: as many regions as sign patterns are in the crops, nearly all 2^9."""
    net = nn.Sequential()
    with pytest.raises(UserError, match="thin form"):
        linear_regions(net, batch)
    net.__dict__["thin"] = nn.Sequential(nn.ReLU())
    patterns = np.unique((random_crops(batch) > 0).flatten(1).numpy(), axis=0)
    assert linear_regions(net, batch) == len(patterns) > 500
    one_side = Batch(batch.images.abs(), batch.labels)
    assert linear_regions(net, one_side) == 1


def test_crops_are_parts_of_one_channel_of_an_image(batch: Batch) -> None:
    """Numbered pixels tell where a crop comes from."""
    images = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32).reshape(2, 3, 5, 4)
    crops = random_crops(Batch(images, torch.zeros(2, dtype=torch.int64), seed=3))
    assert crops.shape == (3000, 1, 3, 3)
    assert (crops - crops[:, :, :1, :1] == torch.tensor([[0, 1, 2], [4, 5, 6], [8, 9, 10]])).all()
    first = {(int(value) // 20, int(value) % 20) for value in crops[:, 0, 0, 0]}
    assert first == {(image, 4 * row + column) for image in range(6) for row in range(3) for column in range(2)}
    assert torch.equal(crops, random_crops(Batch(images, torch.zeros(2, dtype=torch.int64), seed=3)))


def test_rank_sum_by_hand() -> None:
    """Condition numbers 5, 2, 9 (negated) rank 2, 3, 1; regions 10, 30, 30 rank 1, 2.5, 2.5."""
    assert rank_sum([(-5.0, 10.0), (-2.0, 30.0), (-9.0, 30.0)]) == [3.0, 5.5, 3.5]


def two_relus() -> nn.Sequential:
    net = nn.Sequential(nn.ReLU(), nn.Linear(2, 2, bias=False), nn.ReLU())
    net[1].weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return net


def test_nwot_by_hand() -> None:
    """Inputs (1, -1), (2, 1), (-1, 3), which the first ReLU codes as 10, 11, 01.

    The second reads (1, -1), (1, -1), (-3, 3), so its codes are 10, 10, 01.
    Of 4 units the images 1 and 2 share 3, 1 and 3 share 0, 2 and 3 share 1: det [[4, 3, 0], [3, 4, 1], [0, 1, 4]] = 24.
    """
    batch = Batch(torch.tensor([[1.0, -1.0], [2.0, 1.0], [-1.0, 3.0]]), torch.zeros(3, dtype=torch.int64))
    assert PROXIES["nwot"].measure(two_relus(), batch) == pytest.approx((math.log(24),))


def test_the_released_reading_counts_blocks_too(batch: Batch) -> None:
    """One ReLU-conv-BN block: its ReLU's code counts twice, so K doubles and its log-determinant grows by B ln 2."""
    net = nn.Sequential(ReLUConvBN(3, 3, 1))
    (text,), (released,) = (PROXIES[name].measure(net, batch) for name in ("nwot", "nwot-released"))
    assert released - text == pytest.approx(len(batch.images) * math.log(2))


@pytest.mark.parametrize("name", ["nwot", "nwot-released", "synflow"])
def test_relu6_is_a_relu(name: str, batch: Batch) -> None:
    """Its codes count, and where all weights are positive its cap stops nothing."""
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 10))
    capped = nn.Sequential(*(nn.ReLU6() if isinstance(module, nn.ReLU) else module for module in net))
    assert PROXIES[name].measure(capped, batch) == pytest.approx(PROXIES[name].measure(net, batch))


def test_images_of_one_code_make_the_kernel_singular() -> None:
    batch = Batch(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
    assert PROXIES["nwot"].measure(two_relus(), batch) == (-math.inf,)


def test_nan_is_an_error(small_space: NASBench201, batch: Batch) -> None:
    broken = Proxy("broken", (lambda net, batch: math.nan,), "test")
    with pytest.raises(UserError, match="'broken' gave NaN"):
        score_archs(broken, small_space.supernet(10, 0), [PartialArch.all_open(small_space.edges)], batch)


def test_a_proxy_without_batching_sees_each_function_once(small_space: NASBench201, batch: Batch) -> None:
    supernet, calls = small_space.supernet(10, 0), []
    arch = PartialArch.all_open(small_space.edges)
    archs = [arch.perturb(edge, op) for edge in (0, 1) for op in small_space.edges[0].candidates]

    def counted(net: nn.Module, batch: Batch) -> float:
        calls.append(net)
        return PROXIES["nwot"].measure(net, batch)[0]

    plain = Proxy("plain", (counted,), "test")
    np.testing.assert_allclose(
        score_archs(plain, supernet, archs, batch), score_archs(PROXIES["nwot"], supernet, archs, batch), rtol=1e-5
    )
    assert len(calls) == 9  # of the 10, two are the supernet without `none`


@pytest.mark.data
@pytest.mark.parametrize("name", ["params", "flops"])
def test_params_and_flops_are_those_of_the_benchmark(name: str, batch: Batch) -> None:
    space, table = SPACES["nasbench201"], load_benchmark("nasbench201").table
    archs = [space.arch(index) for index in range(0, space.num_archs, 1117)]
    supernet = space.supernet(10, seed=0)
    measured = measure_archs(
        PROXIES[name], supernet, [PartialArch(space.edges, arch.kept) for arch in archs], batch, alone=True
    )
    assert [value for (value,) in measured] == [table.loc[space.encode(arch), f"{name}_cifar10"] for arch in archs]


@pytest.mark.gpu
@by_name
def test_a_gpu_gives_the_same_scores(proxy: Proxy, small_space: NASBench201, batch: Batch) -> None:
    arch = PartialArch.all_open(small_space.edges)
    archs = [arch.perturb(0, op) for op in small_space.edges[0].candidates]
    supernet = small_space.supernet(10, 0)
    cpu = score_archs(proxy, supernet, archs, batch)
    cuda = score_archs(proxy, supernet.cuda(), archs, Batch(batch.images.cuda(), batch.labels.cuda()))
    np.testing.assert_allclose(cuda, cpu, rtol=1e-5 if proxy.measure_variants else 2e-2)
