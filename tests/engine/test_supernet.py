import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.devices import DEVICES
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.folding import EdgeWeights, Folding, JointFoldedLayer, SharedCode, State
from zcpt_ray.engine.initialization import initialize
from zcpt_ray.engine.inverted_residual import FoldedBlock, InvertedResidual
from zcpt_ray.engine.layers import Head, Layer, Stem
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp, ReLUConvBN
from zcpt_ray.engine.supernet import MaskedSupernet, Supernet
from zcpt_ray.proxies import PROXIES, Proxy, score_archs
from zcpt_ray.spaces import Space
from zcpt_ray.spaces.darts.candidates import everywhere
from zcpt_ray.spaces.darts.space import DARTS_SPACES, Darts
from zcpt_ray.spaces.mobilenet import BlockGroup, MobileNet
from zcpt_ray.spaces.nasbench1shot1.space import NASBench1Shot1
from zcpt_ray.spaces.nasbench201 import NASBench201
from zcpt_ray.spaces.nasbench_macro import NASBenchMacro
from zcpt_ray.spaces.toy_chain import ToyChain

SMALL: dict[str, Space] = {
    "nasbench201": NASBench201(channels=4, cells_per_stage=1),
    "toy-chain": ToyChain(3, channels=4),
    "darts": Darts("darts", everywhere(*DARTS_SPACES[0].edges[0].candidates), op_weight=1 / 8, channels=2, num_cells=3),
    "darts-s4": Darts("darts-s4", everywhere("noise", "none", "sep_conv_3x3"), channels=2, num_cells=3),
    "nasbench1shot1": NASBench1Shot1(1, channels=4, cells_per_stack=1),
    "nasbench-macro": NASBenchMacro(stem=4, widths=(4, 6, 8), head=8),
    "mobilenet": MobileNet(stem=(4, 4), groups=(BlockGroup(6, 2, 2), BlockGroup(8, 2, 1)), head=8),
}


def batch_of(count: int) -> Batch:
    images = torch.from_numpy(np.random.default_rng(count).standard_normal((count, 3, 32, 32)).astype(np.float32))
    return Batch(images, torch.zeros(count, dtype=torch.int64))


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.sampled_from(["nwot", "nwot-released"]), st.data())
def test_batched_scores_are_the_plain_ones(space_name: str, proxy_name: str, data: st.DataObject) -> None:
    """On any partly decided architecture, with batch norms as training leaves them."""
    space, proxy = SMALL[space_name], PROXIES[proxy_name]
    net = space.supernet(10, seed=1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    arch = PartialArch.all_open(space.edges)
    for index in arch.open_edges:
        edge = space.edges[index]
        kept = data.draw(st.sampled_from((None, *itertools.combinations(edge.candidates, edge.keep))))
        arch = arch if kept is None else arch.discretize(index, kept)
    archs = [arch, *(arch.perturb(edge, op) for edge in arch.open_edges for op in space.edges[edge].candidates)]
    batch = batch_of(9)
    plain = [proxy.measure(MaskedSupernet(net, each), batch)[0] for each in archs]
    batched = score_archs(proxy, net, archs, batch)
    np.testing.assert_allclose(
        batched, plain, rtol=1e-5
    )  # -inf too: a network cut in two gives every image the same code
    assert np.argmin(batched) == np.argmin(plain)


@pytest.mark.parametrize("name", SMALL)
def test_states_that_are_stacked_change_no_score(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; of several sizes of stacks, with variants that part in some layer, early or late."""
    space, images = SMALL[name], batch_of(9)
    net, arch = space.supernet(10, seed=1), PartialArch.all_open(space.edges)
    edges = {arch.open_edges[0], arch.open_edges[1], arch.open_edges[-1]}
    archs = [arch, *(arch.perturb(edge, op) for edge in edges for op in space.edges[edge].candidates)]
    expected = score_archs(PROXIES["nwot-released"], net, archs, images)
    for chunk_bytes in (1 << 17, 1 << 20, 1 << 30):
        device = replace(DEVICES["cpu"], stacks_states=True, chunk_bytes=chunk_bytes)
        monkeypatch.setitem(DEVICES, "cpu", device)
        np.testing.assert_allclose(score_archs(PROXIES["nwot-released"], net, archs, images), expected, rtol=1e-6)


def test_stacked_states_need_fewer_convolutions(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    space = NASBench201(channels=4, cells_per_stage=3)
    net, arch = space.supernet(10, seed=1), PartialArch.all_open(space.edges)
    archs = [arch.perturb(2, op) for op in space.edges[2].candidates]
    counts = []
    for stacks in (False, True):
        monkeypatch.setitem(DEVICES, "cpu", replace(DEVICES["cpu"], stacks_states=stacks, chunk_bytes=1 << 30))
        with ConvolutionCount() as counted:
            score_archs(PROXIES["nwot"], net, archs, batch)
        counts.append(counted.count)
    assert counts[1] < 0.6 * counts[0]


class ConvolutionCount(TorchDispatchMode):
    """Inside, `count` grows with each convolution."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "convolution" in str(func)
        return func(*args, **(kwargs or {}))


def test_removing_none_is_one_function_for_every_edge(batch: Batch) -> None:
    space = SMALL["nasbench201"]
    arch = PartialArch.all_open(space.edges)
    archs = [arch, *(arch.perturb(edge, "none") for edge in arch.open_edges)]
    supernet = space.supernet(10, 0)
    assert len(set(score_archs(PROXIES["nwot"], supernet, archs, batch))) == 1
    assert len({supernet.key(each) for each in archs}) == 1


class CountedLayer(Layer):
    """Another layer, whose folded runs are listed by name."""

    images_apart = False  # all images in one run

    def __init__(self, name: str, layer: Layer, runs: list[str]) -> None:
        super().__init__()
        self.name, self.layer, self.runs = name, layer, runs

    def key(self, weights: EdgeWeights) -> object:
        return self.layer.key(weights)

    def folding(self) -> Folding:
        return CountedFolding(self)


class CountedFolding(Folding):
    """The folding of a counted layer, whose folded layers are counted."""

    def __init__(self, layer: CountedLayer) -> None:
        self.layer, self.folding = layer, layer.layer.folding()
        self.joint = self.folding.joint

    def fold_jointly(self, weights: list[EdgeWeights]) -> JointFoldedLayer:
        return CountedRun(self.layer, self.folding.fold_jointly(weights))


class CountedRun(JointFoldedLayer):
    """A folded layer that says when it runs."""

    def __init__(self, layer: CountedLayer, folded: JointFoldedLayer) -> None:
        self.layer, self.folded = layer, folded

    def __call__(self, x: State) -> tuple[list[State], list[SharedCode]]:
        self.layer.runs.append(self.layer.name)
        return self.folded(x)


def counted(net: Supernet) -> list[str]:
    """Have the layers of `net` counted; the list that their runs will be in."""
    runs: list[str] = []
    names = {layer: name for name, layer in net.named_children()}
    net.layers = [CountedLayer(names[layer], layer, runs) for layer in net.layers]
    return runs


def test_what_architectures_share_is_computed_once(batch: Batch) -> None:
    """In a chain of 3 the last layer loses an op: all layers run once for all, the head for each of 4 variants."""
    space = SMALL["toy-chain"]
    net, arch = space.supernet(10, 0), PartialArch.all_open(space.edges)
    runs = counted(net)
    list(net.relu_sites([arch.perturb(2, op) for op in space.edges[2].candidates], batch.images))
    assert runs == ["stem", "cell0", "cell1", "cell2", *4 * ["head"]]


def test_cells_that_read_the_same_share_sums() -> None:
    """Edge 2<-3 loses an op: the edges before it, and what is left of its convolutions, run once for all variants."""
    space = SMALL["nasbench201"]
    folding, arch = space.supernet(10, 0).layers[1].folding(), PartialArch.all_open(space.edges)
    weights = [arch.perturb(5, op).edge_weights() for op in space.edges[5].candidates]
    x = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    with torch.no_grad(), ConvolutionCount() as counted:
        outputs, codes = folding.fold_jointly(weights)(x)
    assert counted.count == 8 + 4  # five edges and three kernels of the sixth; averages of three nodes, one in two ways
    for position, each in enumerate(weights):
        with torch.no_grad():
            alone, seen = folding.fold_jointly([each])(x)
        torch.testing.assert_close(outputs[position], alone[0])
        shared = [(code.relus, code.blocks, code.code.bits) for code, archs in codes if position in archs]
        torch.testing.assert_close(shared, [(code.relus, code.blocks, code.code.bits) for code, _ in seen])


def test_blocks_run_once_for_all_variants_of_their_layer(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    """Of 8 layers the last loses an op: stem, layers and blocks run once, the head for each of 3 variants."""
    blocks, fold = [], InvertedResidual.fold

    def counted_fold(block: InvertedResidual) -> FoldedBlock:
        folded = fold(block)
        return lambda x: blocks.append(block) or folded(x)

    monkeypatch.setattr(InvertedResidual, "fold", counted_fold)
    space = SMALL["nasbench-macro"]
    net, arch = space.supernet(10, 0), PartialArch.all_open(space.edges)
    runs = counted(net)
    sites = list(net.relu_sites([arch.perturb(7, op) for op in space.edges[7].candidates], batch.images))
    assert runs == ["stem", *(edge.name for edge in space.edges), *3 * ["head"]]
    assert len(blocks) == len(set(blocks)) == 16
    assert sorted({site.archs for site in sites}) == [(0,), (0, 1), (0, 1, 2), (0, 2), (1,), (2,)]


@pytest.mark.parametrize("space", SMALL.values(), ids=SMALL)
def test_chunks_do_not_change_scores(space: Space, monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    net, arch = space.supernet(10, 0), PartialArch.all_open(space.edges)
    archs = [arch, *(arch.perturb(1, op) for op in space.edges[1].candidates)]
    whole = score_archs(PROXIES["nwot"], net, archs, batch)
    monkeypatch.setattr(Layer, "least_images", 1)
    monkeypatch.setitem(DEVICES, "cpu", replace(DEVICES["cpu"], chunk_bytes=5 * batch.images[0].nbytes))
    assert score_archs(PROXIES["nwot"], net, archs, batch) == pytest.approx(whole, rel=1e-5)


NETWORKS = {
    "nasbench201": "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "nasbench1shot1": "conv3x3-bn-relu(0)|maxpool3x3(0,1)|conv1x1-bn-relu(1,2)|conv1x1-bn-relu(0,2)|output(0,3)",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_weights_of_its_supernet(name: str) -> None:
    space, text = SMALL[name], NETWORKS[name]
    supernet, network = space.supernet(10, seed=3), space.network(space.decode(text), 10, seed=3)
    shared = supernet.state_dict()
    assert all(torch.equal(tensor, shared[name]) for name, tensor in network.state_dict().items())


def test_a_network_is_its_supernet_discretized(batch: Batch) -> None:
    space = SMALL["nasbench1shot1"]
    spec = space.decode(NETWORKS["nasbench1shot1"])
    supernet, network = space.supernet(10, seed=3).eval(), space.network(spec, 10, seed=3).eval()
    arch = PartialArch.all_open(space.edges)
    for index in arch.open_edges:
        arch = arch.discretize(index, spec.kept[index])
    torch.testing.assert_close(MaskedSupernet(supernet, arch)(batch.images), network(batch.images))


def test_blocks_that_lead_nowhere_do_not_run(batch: Batch) -> None:
    """The output reads the input and block 3; nothing reads block 4, so its op is no part of the network."""
    space, nwot = SMALL["nasbench1shot1"], PROXIES["nwot"]
    texts = [
        NETWORKS["nasbench1shot1"].replace("conv1x1-bn-relu(0,2)", f"{op}(0,2)")
        for op in ("maxpool3x3", "conv3x3-bn-relu")
    ]
    nets = [space.network(space.decode(text), 10, seed=3) for text in texts]
    wholes = [PartialArch.whole(net.edges) for net in nets]
    assert len({score_archs(nwot, net, [whole], batch)[0] for net, whole in zip(nets, wholes, strict=True)}) == 1
    supernet, arch = space.supernet(10, 0), PartialArch.all_open(space.edges)
    closed = arch.discretize(8, ("0", "3"))
    assert supernet.key(closed.perturb(3, "maxpool3x3")) == supernet.key(closed)
    assert supernet.key(arch.perturb(3, "maxpool3x3")) != supernet.key(arch)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=lambda proxy: proxy.name)
def test_every_proxy_takes_nasbench1shot1(proxy: Proxy, batch: Batch) -> None:
    space = SMALL["nasbench1shot1"]
    arch = PartialArch.all_open(space.edges).perturb(0, "conv3x3-bn-relu")
    assert np.isfinite(proxy.measure(MaskedSupernet(space.supernet(10, 0), arch), batch)).all()


def test_a_cell_may_lose_every_path(batch: Batch) -> None:
    space, nwot = SMALL["nasbench1shot1"], PROXIES["nwot"]
    net, arch = space.supernet(10, 0).eval(), PartialArch.all_open(space.edges)
    everything = [(index, op) for index in arch.open_edges for op in space.edges[index].candidates]
    inputs = [(index, op) for index, op in everything if space.edges[index].op_weight == 1]
    for pairs in (
        everything,
        inputs,
        [pair for pair in everything if pair not in inputs],
        [pair for pair in inputs if pair[1] == "0"],
    ):
        bare = arch
        for pair in pairs:
            bare = bare.perturb(*pair)
        assert MaskedSupernet(net, bare)(batch.images).shape == (12, 10)
        assert score_archs(nwot, net, [bare], batch) == pytest.approx(
            nwot.measure(MaskedSupernet(net, bare), batch), rel=1e-5
        )


def test_a_cell_of_other_ops_is_evaluated_as_it_is_written(batch: Batch) -> None:
    """An op that is not linear in what it reads has no folded form: its cell runs op by op, and every ReLU counts."""

    class Twice(CandidateOp):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first, self.second = ReLUConvBN(channels, channels, 1), ReLUConvBN(channels, channels, 3)

        def forward(self, x: torch.Tensor, active: bool = True) -> torch.Tensor | None:
            return self.second(self.first(x)) if active else None

    edge = Edge("layer", ("twice", "skip_connect"))

    def build() -> Supernet:
        ops = {"twice": Twice, "skip_connect": CELL_OPS["skip_connect"]}
        return Supernet((edge,), {"stem": Stem(3, 4), "cell": Cell({0: (edge, 0, 1)}, 4, ops), "head": Head(4)}, 4, 10)

    net, arch = initialize(build, seed=0), PartialArch.all_open((edge,))
    archs = [arch, arch.perturb(0, "twice"), arch.perturb(0, "skip_connect")]
    for proxy in (PROXIES["nwot"], PROXIES["nwot-released"]):
        plain = [proxy.measure(MaskedSupernet(net, each), batch)[0] for each in archs]
        np.testing.assert_allclose(score_archs(proxy, net, archs, batch), plain, rtol=1e-5)
        assert len(set(plain)) == 3


FOR_GRADIENTS = {
    **{name: SMALL[name] for name in ("darts-s4", "mobilenet")},
    "darts": Darts("darts", DARTS_SPACES[0].candidates, op_weight=1 / 8, channels=4, num_cells=3),
    "nasbench-macro": NASBenchMacro(stem=8, widths=(8, 10, 12), head=8),
}
"""Small spaces whose 1x1 convolutions of stride 2 read at least 8 channels.

With fewer, in channels_last order on a CPU, torch 2.13 writes past the end of their weight's gradient, and the process
ends by "free(): invalid pointer" sooner or later.
"""


@pytest.mark.parametrize("name", FOR_GRADIENTS)
@pytest.mark.parametrize("proxy", PROXIES.values(), ids=lambda proxy: proxy.name)
def test_every_proxy_takes_every_space(proxy: Proxy, name: str, batch: Batch) -> None:
    """A number for the supernet and for one with an op removed."""
    space = FOR_GRADIENTS[name]
    if proxy.thin and space.thin is None:
        pytest.skip("no thin form")
    net, arch = space.supernet(10, 0), PartialArch.all_open(space.edges)
    for each in (arch, arch.perturb(1, space.edges[1].candidates[-1])):
        assert not any(np.isnan(proxy.measure(MaskedSupernet(net, each), batch)))
