"""Spaces that others have trained networks of: texts, costs, and searches where there is no supernet."""

import pandas as pd
import pytest
import torch

import zcpt_ray as zc
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, measure_archs
from zcpt_ray.spaces import SPACES
from zcpt_ray.storage.paths import data_directory

KNOWN = {
    "transnas101-micro": ("64-41414-0_00_000", 51807, None),
    "autoformer-tiny": (
        "h192-n3m3.5-n3m3.5-n3m3.5-n3m3.5-n4m4-n4m3.5-n3m4-n4m3.5-n3m4-n4m4-n4m3.5-n4m3.5-n4m4",
        5692900,
        1301773732,
    ),
    "pit": ("b16-m2-d1n2-d6n2-d6n2", 165156, None),
    "accel-mbconv": ("e1k3l1s0-e1k3l1s0-e1k5l2s0-e6k5l2s0-e6k5l2s0-e1k5l3s0-e6k3l2s0", 4073000, 225964208),
    "nasbench101": ("output(0)", 882570, 137761802),
    "darts": (
        "Genotype(normal=[('avg_pool_3x3', 0), ('avg_pool_3x3', 1), ('avg_pool_3x3', 1), ('dil_conv_5x5', 2),"
        " ('avg_pool_3x3', 0), ('max_pool_3x3', 3), ('sep_conv_5x5', 0), ('dil_conv_5x5', 1)],"
        " normal_concat=range(2, 6), reduce=[('sep_conv_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0),"
        " ('dil_conv_5x5', 1), ('skip_connect', 1), ('sep_conv_5x5', 3), ('sep_conv_5x5', 1), ('avg_pool_3x3', 2)],"
        " reduce_concat=range(2, 6))",
        871594,
        None,
    ),
    "nats-size": ("64:64:64:64:64", 713674, 274399882),
    "transnas101-macro": ("64-1114-basic", None, None),
}
TABLES = {
    "transnas101-micro": ("transnas101_micro", "class_scene_params"),
    "transnas101-macro": ("transnas101_macro", None),
    "autoformer-tiny": ("autoformer_tiny", "params_c100_computed"),
    "pit": ("pit", "params_c100_computed"),
    "accel-mbconv": ("accel_nasbench", "params"),
    "nasbench101": ("nb101_500", "params"),
    "darts": ("nb301_500", "params"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks(name: str) -> None:
    text, params, flops = KNOWN[name]
    space = SPACES[name]
    assert space.encode(space.decode(text)) == text
    cost = zc.costs(name, text)
    assert params is None or cost.params == params
    assert flops is None or cost.flops == flops
    assert cost.params > 0 < cost.flops


def test_numbers_of_architectures() -> None:
    counts = {name: SPACES[name].num_archs for name in ("transnas101-micro", "transnas101-macro", "pit", "nats-size")}
    assert counts == {"transnas101-micro": 4096, "transnas101-macro": 3256, "pit": 4320, "nats-size": 32768}
    assert SPACES["autoformer-tiny"].num_archs == 3 * sum(4**depth for depth in (12, 13, 14))
    assert SPACES["accel-mbconv"].num_archs == 36**6 * 48


@pytest.mark.data
@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_the_table(name: str) -> None:
    file, column = TABLES[name]
    table = pd.read_parquet(data_directory() / "tables" / f"{file}.parquet")
    space = SPACES[name]
    assert all(space.encode(space.decode(text)) == text for text in table["arch"])
    if column:
        alive = table[table["arch"] == table["live_arch"]] if "live_arch" in table else table
        some = alive.dropna(subset=[column])
        for row in some.iloc[:: max(1, len(some) // 6)].itertuples():
            assert zc.costs(name, row.arch).params == getattr(row, column)


@pytest.mark.data
@pytest.mark.parametrize("size", ["micro", "macro"])
def test_published_zen_scores_of_transnas101(size: str) -> None:
    """At 256 pixels, of noise: ours has three images at least, theirs two. Scores are 12 to 170."""
    space = SPACES[f"transnas101-{size}"]
    table = pd.read_parquet(data_directory() / "tables" / f"transnas101_{size}.parquet")
    alive = table[table["arch"] == table["live_arch"]] if "live_arch" in table else table
    published = alive.set_index("arch")["class_object_zen"].dropna()
    batch = Batch(torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0]))
    for arch in published.index[:: len(published) // 4]:
        network = space.network(space.decode(arch), 100, seed=0)
        assert zc.score(network, batch, "zen_score") == pytest.approx(published[arch], abs=0.25)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("transnas101-micro", "64-41414-4_00_000", "digits 0 to 3"),
        ("transnas101-macro", "64-1111-basic", "of which 1 to 4 are 3 or 4"),
        ("transnas101-macro", "64-444444-basic", "1 to 3 are 2 or 4"),
        ("pit", "b16-m2-d1n4-d6n2-d6n2", "heads that never get fewer"),
        ("autoformer-tiny", "h192-n3m3.5", "12 to 14 blocks"),
        ("accel-mbconv", "e1k3l4s0-e1k3l1s0-e1k5l2s0-e6k5l2s0-e6k5l2s0-e1k5l3s0-e6k3l2s0", "up to l4 in the sixth"),
        ("nasbench101", "conv3x3-bn-relu(0)|maxpool3x3(0)|output(1)", r"of it, conv3x3-bn-relu\(0\)\|output\(1\) runs"),
        ("nats-size", "8:8:8:8", "expected 5 of"),
    ],
)
def test_what_is_no_architecture(name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SPACES[name].decode(text)


@pytest.mark.parametrize("name", ["transnas101-macro", "nats-size", "nasbench101", "pit"])
def test_ops_cannot_be_scored_without_a_supernet(name: str) -> None:
    with pytest.raises(UserError, match=r"has no supernet.*use --method random or evolution"):
        zc.Search.of(zc.SearchConfig(space=name, batch_size=4))
    zc.Search.of(zc.SearchConfig(space=name, batch_size=4, method="random"))


def test_networks_without_a_supernet_are_searched(tmp_path: object) -> None:
    result = zc.search(
        space="nats-size", dataset="digits", method="evolution", evaluations=4, proxy="nwot", num_proposals=2,
        num_validations=1, batch_size=4, ray=False, out=f"{tmp_path}/run", max_params=0.2, progress=False,
    )  # fmt: skip
    assert zc.costs("nats-size", result.best.arch, num_classes=10).params <= 200_000


def test_a_network_alone_has_the_supernet_s_weights() -> None:
    space = SPACES["transnas101-micro"]
    arch = space.decode("64-41414-1_23_330")
    network, images = space.network(arch, 5, 0).eval(), torch.randn(2, 3, 32, 32)
    masked = space.supernet(5, 0).masked(zc.PartialArch(space.edges, arch.kept)).eval()
    torch.testing.assert_close(masked(images), network(images))


@pytest.mark.parametrize("name", ["autoformer-tiny", "pit"])
def test_transformers_take_images_of_any_size(name: str) -> None:
    network = SPACES[name].network(SPACES[name].example(), 5, 0).eval()
    assert [network(torch.randn(2, 3, size, size)).shape for size in (32, 224)] == 2 * [(2, 5)]


@pytest.mark.parametrize("proxy", ["nwot", "nwot-released"])
@pytest.mark.parametrize(("name", "text"), [("transnas101-macro", "64-1114-basic"), ("nats-size", "8:8:8:8:16")])
def test_networks_are_scored_as_they_are_written(name: str, text: str, proxy: str) -> None:
    """Blocks are seen that the network hides from the layer which runs it."""
    space, batch = SPACES[name], zc.Batch(torch.randn(6, 3, 32, 32), torch.arange(6) % 5, 0)
    arch = space.decode(text)
    ((found,),) = measure_archs(PROXIES[proxy], space.supernet(5, 0), [zc.PartialArch(space.edges, arch.kept)], batch)
    (plain,) = PROXIES[proxy].measure(space.network(arch, 5, 0), batch)
    assert found == pytest.approx(plain, rel=1e-5)
