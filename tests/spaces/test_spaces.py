import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.benchmarks.tables import as_written, load_benchmark
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import watched_inputs
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, measure_archs
from zcpt_ray.spaces import SPACES, Space
from zcpt_ray.storage.paths import data_directory

by_name = pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)


@by_name
def test_a_space_keeps_its_contract(space: Space, batch: Batch) -> None:
    assert SPACES[space.name] is space
    assert sorted(edge for stage in space.stages for lane in stage for edge in lane) == list(range(len(space.edges)))
    last = ArchSpec(space.name, tuple(edge.candidates[-edge.keep :] for edge in space.edges))
    first = last if space.valid(last) else space.example()
    text = space.encode(first)
    for around in ("{}", "\ufeff{}", "{}\r\n", "\t {} \n"):
        assert space.encode(space.decode(around.format(text))) == text
    assert space.network(first, 7, seed=0).eval()(batch.images).shape == (12, 7)
    with pytest.raises(UserError, match="not a"):
        space.decode("nonsense")
    with pytest.raises(ValueError, match="cannot build"):
        space.network(ArchSpec("other", first.kept), 10, seed=0)
    with pytest.raises(ValueError, match="keeps 1 of"):
        space.network(ArchSpec(space.name, (("no_such_op",), *first.kept[1:])), 10, seed=0)


@by_name
def test_a_smoke_run_searches_a_known_space_with_the_same_choices(space: Space) -> None:
    assert SPACES[space.smoke_name].edges == space.edges
    assert SPACES[space.smoke_name].smoke_name == space.smoke_name


@by_name
def test_the_trained_form_takes_the_sizes_that_the_space_names(space: Space) -> None:
    """Each changes the network, and no other is taken."""
    assert set(space.smallest_sizes) == set(space.trained_sizes)

    def shapes(**sizes: int) -> list[torch.Size]:
        with torch.device("meta"):
            edges = space.edges if space.has_supernet else space.single_path(space.example())
            net = space.trained_form(edges, 10, **sizes)
        return [parameter.shape for parameter in net.parameters()]

    smallest = shapes(**space.smallest_sizes)
    for name, size in space.smallest_sizes.items():
        assert shapes(**{**space.smallest_sizes, name: 2 * size}) != smallest
    with pytest.raises(ValueError, match=f"space '{space.name}' has no size 'length'; its sizes are: "):
        shapes(length=1)


def test_all_of_nasbench201_round_trips() -> None:
    space = SPACES["nasbench201"]
    archs = [
        ArchSpec(space.name, tuple((op,) for op in ops))
        for ops in itertools.product(*(edge.candidates for edge in space.edges))
    ]
    texts = [space.encode(arch) for arch in archs]
    assert len(set(texts)) == 15_625
    assert [space.decode(text) for text in texts] == archs
    assert texts[0] == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    "other",
    [
        "421211",  # the op numbers of the table
        "(4, 3, 3, 0, 0, 0)",  # NASLib's, whose edges are in another order
        (4, 3, 3, np.int64(0), 0, 0),
        "[4, 3, 3, np.int64(0), 0, 0]",
    ],
)
def test_other_notations_of_nasbench201(other: object) -> None:
    space = SPACES["nasbench201"]
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert space.encode(space.decode(other)) == text


@pytest.mark.data
def test_op_numbers_and_indices_of_the_benchmark() -> None:
    table = load_benchmark("nasbench201").table.reset_index()[["arch", "index", "ops"]]
    for arch, index, ops in table.iloc[::311].itertuples(index=False):
        assert [as_written(SPACES["nasbench201"], given) for given in (arch, ops, index, str(index))] == [arch] * 4
    with pytest.raises(UserError, match="architectures 0 to 15624, got 15625"):
        as_written(SPACES["nasbench201"], 15625)


@pytest.mark.parametrize(
    "text", ["|none~0|+|none~0|none~1|+|none~0|none~1|none~1|", "|none~0|+|none~0|none~1|+|none~0|none~1|max~2|"]
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a NAS-Bench-201 architecture"):
        SPACES["nasbench201"].decode(text)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_archs_of_nasbench1shot1_round_trip(number: int) -> None:
    """Nine edges a cell, whatever is chosen; an order of what is kept is not part of an architecture."""
    space = SPACES[f"nasbench1shot1-{number}"]
    assert space.num_archs == {1: 14_580, 2: 29_160, 3: 1_312_200}[number]
    assert sum(edge.keep for edge in space.edges if edge.op_weight == 1) == 9
    for index in range(0, space.num_archs, space.num_archs // 200):
        arch = space.arch(index)
        assert space.decode(space.encode(arch)) == arch
        turned = ArchSpec(space.name, tuple(ops[::-1] for ops in arch.kept))
        assert space.encode(turned) == space.encode(arch)


@pytest.mark.parametrize(
    "text",
    [
        "maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1)|maxpool3x3(0,1)|output(0,5)",
        "maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1)|maxpool3x3(0,1)|output(1,0)",
        "maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1)|maxpool3x3(0)|output(0,1)",
        "maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1)|output(0,1)",
        "maxpool5x5(0)|maxpool3x3(0,1)|maxpool3x3(0,1)|maxpool3x3(0,1)|output(0,1)",
    ],
)
def test_near_misses_of_a_cell_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a nasbench1shot1-1 architecture: ") as error:
        SPACES["nasbench1shot1-1"].decode(text)
    assert "\n" not in str(error.value)


def count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameters_of_a_known_network() -> None:
    """0.372346 M for CIFAR-10 in the benchmark."""
    text = "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|"
    space = SPACES["nasbench201"]
    assert count(space.network(space.decode(text), 10, seed=0)) == 372_346


@pytest.mark.parametrize(
    ("text", "params", "flops"), [("00000000", 387_882, 7_713_280), ("22222222", 2_932_586, 105_660_928)]
)
def test_known_networks_of_nasbench_macro(text: str, params: int, flops: int, batch: Batch) -> None:
    """The benchmark's FLOPs leave out the biases of the classifier."""
    space = SPACES["nasbench-macro"]
    network = space.network(space.decode(text), 10, seed=0)
    assert count(network) == params
    assert PROXIES["flops"].measure(network, batch) == (flops + 10,)


@pytest.mark.data
def test_parameters_and_flops_of_nasbench_macro(batch: Batch) -> None:
    """Of a network from the supernet's ops, of which both are sums over what runs; of some, built on their own."""
    space = SPACES["nasbench-macro"]
    table = pd.read_parquet(data_directory() / "tables/nasbench_macro.parquet").sample(200, random_state=0)
    archs = [PartialArch(space.edges, space.decode(text).kept) for text in table["arch"]]
    supernet = space.supernet(10, seed=0)
    for name, more in (("params", 0), ("flops", 10)):
        assert [value for (value,) in measure_archs(PROXIES[name], supernet, archs, batch, alone=True)] == list(
            table[name] + more
        )
    for text, params in list(zip(table["arch"], table["params"], strict=True))[::10]:
        assert count(space.network(space.decode(text), 10, seed=0)) == params


@pytest.mark.parametrize("text", ["0000000", "000000000", "00000003", "0000000²", ""])
def test_other_digits_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a NAS-Bench-Macro architecture"):
        SPACES["nasbench-macro"].decode(text)


def test_mobilenet_skips_only_where_the_shape_stays() -> None:
    space = SPACES["mobilenet"]
    assert len(space.edges) == 21
    assert [index for index, edge in enumerate(space.edges) if "skip" not in edge.candidates] == [0, 4, 8, 12, 16, 20]
    first = space.encode(space.arch(0))
    assert first.startswith("MB3_K3,skip,skip,skip,MB3_K3,")
    with pytest.raises(UserError, match="layer0 has no op 'skip'; choose from MB3_K3, "):
        space.decode("skip," + first.split(",", 1)[1])


def test_mobilenet_takes_images_of_any_size() -> None:
    """Stem 1/2, four stages that halve: 224 pixels end at 7."""
    space, ends = SPACES["mobilenet"], []
    network = space.network(space.arch(0), 10, seed=0).eval()
    with watched_inputs([network.get_submodule("head")], lambda x: ends.append(tuple(x.shape))), torch.no_grad():
        for size in (224, 65, 32):
            assert network(torch.randn(1, 3, size, size)).shape == (1, 10)
    assert ends == [(1, 432, 7, 7), (1, 432, 3, 3), (1, 432, 1, 1)]


@by_name
def test_the_thin_form_offers_the_same_choices(space: Space) -> None:
    """And takes crops of one channel and 3x3 pixels."""
    if space.table_classes != 10 or not space.has_supernet:  # spaces of other authors' networks, of large images
        assert space.thin is None
        return
    assert space.thin is not None
    assert space.thin.edges == space.edges
    if space.name not in ("mobilenet", "darts-imagenet"):
        thin = space.supernet(10, seed=0).thin
        assert thin(torch.randn(2, 1, 3, 3), PartialArch.all_open(space.edges).edge_weights()).shape == (2, 10)
    assert space.thin.supernet(10, seed=0).eval()(torch.randn(2, 1, 3, 3)).shape == (2, 10)


@pytest.mark.data
def test_parameters_of_a_sample_of_the_benchmark() -> None:
    space, benchmark = SPACES["nasbench201"], load_benchmark("nasbench201")
    for arch, row in benchmark.table.sample(15, random_state=0).iterrows():
        assert count(space.network(space.decode(arch), 100, seed=0)) == row["params_cifar100"]
