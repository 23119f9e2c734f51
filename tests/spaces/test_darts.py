"""The DARTS spaces: genotypes, parameter counts, topology selection, noise."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, score_archs
from zcpt_ray.search.scoring import SCORINGS, Evidence
from zcpt_ray.search.step_scores import StepScores
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.darts.candidates import DARTS_OP_NAMES, everywhere
from zcpt_ray.spaces.darts.genotype import read_genotype
from zcpt_ray.spaces.darts.network import EvaluationNetwork
from zcpt_ray.spaces.darts.space import DARTS_SPACES, Darts
from zcpt_ray.spaces.darts.wiring import DARTS_ENDS

BEST = (
    "Genotype(normal=[('sep_conv_5x5', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1),"
    " ('sep_conv_5x5', 0), ('sep_conv_5x5', 3), ('sep_conv_5x5', 1), ('sep_conv_5x5', 4)], normal_concat=range(2, 6),"
    " reduce=[('sep_conv_5x5', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0),"
    " ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1)], reduce_concat=range(2, 6))"
)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),"
    " ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5],"
    " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def evaluation(text: str, space: str = "darts") -> EvaluationNetwork:
    """Without memory: to be counted, not run."""
    found = SPACES[space]
    assert isinstance(found, Darts)
    with torch.device("meta"):
        return found.trained_form(found.single_path(found.decode(text)), num_classes=10)


def test_parameters_of_the_evaluation_network() -> None:
    """Liu et al. 2019 give 3.3 M for their second-order cells; sep_conv_5x5 everywhere is the largest there is."""
    assert evaluation(DARTS_V2).num_parameters() == 3_349_342
    assert evaluation(BEST).num_parameters() == 5_144_086


def test_a_genotype_may_list_the_inputs_of_a_node_in_any_order() -> None:
    space = SPACES["darts"]
    sorted_text = space.encode(space.decode(DARTS_V2))
    assert "('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)" in sorted_text
    assert space.encode(space.decode(sorted_text)) == sorted_text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("('sep_conv_5x5', 4)", "('conv_7x7', 4)", "edge 'normal/13' keeps 1 of"),
        ("('sep_conv_5x5', 4)", "('sep_conv_5x5', 5)", "node 5 cannot have the input 5"),
        ("('sep_conv_5x5', 4)", "('sep_conv_5x5', 1)", "needs distinct candidate ops, got ('1', '1')"),
        (", ('sep_conv_5x5', 4)", "", "normal has 7 pairs"),
        ("normal_concat=range(2, 6)", "normal_concat=range(3, 6)", "normal_concat must be"),
        ("normal_concat=range(2, 6)", "normal_concat=foo(2, 6)", "foo(2, 6) is no list"),
        ("normal_concat=range(2, 6)", "normal_concat=range(2, 10**12)", "10 ** 12 is no list"),
        ("normal_concat=range(2, 6)", "normal_concat=range(2, 999999999999)", "normal_concat must be"),
        ("('sep_conv_5x5', 4)", "('sep_conv_5x5', 4.0)", "4.0 is no number of a node"),
        ("('sep_conv_5x5', 4)", "('sep_conv_5x5', os.int64(4))", "is no list"),
        ("normal=", "normal=[], normal=", "each once"),
        ("Genotype(", "Genotype([], ", "each once"),
        ("Genotype(", "__import__('os').getcwd(", "not a genotype"),
        ("reduce=", "other=", "not a genotype"),
    ],
)
def test_near_misses_are_refused(old: str, new: str, said: str) -> None:
    assert old in BEST
    with pytest.raises(UserError, match=re.escape(said)):
        SPACES["darts"].decode(BEST.replace(old, new))


COMPACT = str(
    tuple(
        tuple((source, DARTS_OP_NAMES.index(op)) for op, source in pairs) for pairs in read_genotype(DARTS_V2).values()
    )
)
"""NASLib's way to write `DARTS_V2`."""


@pytest.mark.parametrize(
    "other",
    [
        re.sub(r", (\d)\)", r", np.int64(\1))", DARTS_V2),
        re.sub(r"(normal|reduce)(_concat)?=", "", DARTS_V2),
        DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
        COMPACT,
    ],
)
def test_other_notations_of_a_genotype(other: str) -> None:
    assert other != DARTS_V2
    assert SPACES["darts"].decode(other) == SPACES["darts"].decode(DARTS_V2)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" 3)", " 7)", "there is no op 7"),
        (" 3)", " -1)", "there is no op -1"),
        ("((", "(((0, 0), ", "normal has 9 pairs"),
    ],
)
def test_near_misses_of_the_compact_form(old: str, new: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SPACES["darts"].decode(COMPACT.replace(old, new, 1))


def genotype_text(entry: dict[str, list[list[str | int]]]) -> str:
    parts = [
        f"{kind}={[tuple(pair) for pair in entry[kind]]}, {kind}_concat=range(2, 6)" for kind in ("normal", "reduce")
    ]
    return f"Genotype({', '.join(parts)})"


@pytest.mark.data
def test_published_genotypes() -> None:
    """All 76 are read, written and built; those of Zero-Cost-PT in the full space have the paper's 4.7 M parameters."""
    published = json.loads((Path(os.environ["ZCPT_DATA"]) / "tables" / "published_genotypes.json").read_text())
    assert len(published) == 76
    sizes = {}
    for name, entry in published.items():
        subspace = re.search(r"_s([1-4])_", name)
        space = SPACES[f"darts-s{subspace[1]}" if subspace else "darts"]
        text = genotype_text(entry)
        assert space.encode(space.decode(text)) == text
        sizes[name] = evaluation(text, space.name).num_parameters()
    best_of_ten = [size for name, size in sizes.items() if re.fullmatch(r"init_pt_s5_C10_\d_100_N10", name)]
    assert len(best_of_ten) == 4
    assert 4.6e6 < np.mean(best_of_ten) < 4.8e6
    assert all(4.4e6 < size < 5.1e6 for name, size in sizes.items() if name.startswith(("init_pt_s5", "global_pt")))


def small_darts(*ops: str) -> Darts:
    return Darts("small", everywhere(*ops), channels=2, num_cells=3)


def test_stages_take_ops_then_inputs_with_a_lane_for_each_kind_of_cell() -> None:
    (ops, inputs), edges = DARTS_SPACES[0].stages, DARTS_SPACES[0].edges
    assert [len(lane) for lane in ops] == [14, 14]
    assert [[edges[i].name for i in lane][1:] for lane in inputs] == [
        [f"{kind}/node{node}" for node in (3, 4, 5)] for kind in ("normal", "reduce")
    ]
    assert all(edges[i].keep == 2 and edges[i].open_weight == 1 for lane in inputs for i in lane)
    assert PartialArch.all_open(edges).kept[28] == ("0", "1")  # node 2 has no choice


def test_a_node_keeps_the_inputs_whose_removal_lowers_the_score_most() -> None:
    """By hand: without input i the score is i's entry below, so inputs 1 and 3 of node 5 are kept."""
    space = small_darts("skip_connect", "sep_conv_3x3")
    arch = PartialArch.all_open(space.edges)
    node5 = [edge.name for edge in space.edges].index("normal/node5")
    without = {"0": 9.0, "1": 3.0, "2": 8.0, "3": 5.0, "4": 7.0}

    def judge(archs: list[PartialArch], groups: list[int]) -> list[float]:
        return [without[op] for each in archs for (_, op) in each.removed]

    scores = StepScores(SCORINGS["zc-pt"], Evidence(judge), arch, [[0] * len(edge.candidates) for edge in space.edges])
    assert set(scores.best(node5, arch)) == {"1", "3"}


def test_an_input_that_is_removed_takes_its_whole_edge_along(batch: Batch) -> None:
    """As if all ops of that edge were gone; and only of that node."""
    space = small_darts("skip_connect", "sep_conv_3x3")
    net, arch = space.supernet(10, seed=0), PartialArch.all_open(space.edges)
    names = [edge.name for edge in space.edges]
    edge = names.index(f"normal/{DARTS_ENDS.index((0, 3))}")
    without_input = arch.perturb(names.index("normal/node3"), "0")
    without_ops = arch.perturb(edge, "skip_connect").perturb(edge, "sep_conv_3x3")
    first, second, whole = score_archs(PROXIES["nwot"], net, [without_input, without_ops, arch], batch)
    assert first == second
    assert first != whole


def test_a_finished_network_holds_only_what_is_kept() -> None:
    space = SPACES["darts"]
    arch = space.decode(BEST)
    network = space.network(arch, 10, seed=0)
    edges = {name.split(".")[1] for name, _ in network.named_modules() if name.startswith("cell0.edge")}
    assert len(edges) == 8
    masked = PartialArch(space.edges, arch.kept)
    whole = PartialArch.whole(network.edges)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 3, 32, 32)).astype(np.float32))
    batch = Batch(images, torch.zeros(6, dtype=torch.int64))
    supernet = space.supernet(10, seed=0)
    alone, part = (
        score_archs(PROXIES["nwot"], net, [each], batch)[0] for net, each in ((network, whole), (supernet, masked))
    )
    assert alone == pytest.approx(part, rel=1e-6)


def test_noise_is_drawn_once_for_a_seed(batch: Batch) -> None:
    space = small_darts("noise", "sep_conv_3x3")
    arch = PartialArch.all_open(space.edges)

    def score(seed: int) -> float:
        return score_archs(PROXIES["nwot"], space.supernet(10, seed), [arch], batch)[0]

    assert score(0) == score(0)
    assert score(0) != score(1)


def test_the_evaluation_network_trains() -> None:
    """Logits of both heads, drop path in train mode only, nothing of it in eval mode."""
    space = small_darts("skip_connect", "sep_conv_3x3", "max_pool_3x3")
    kept = tuple(edge.candidates[: edge.keep] for edge in space.edges)
    arch = ArchSpec("small", kept)
    torch.manual_seed(0)
    net = space.trained_form(space.single_path(arch), num_classes=7, auxiliary=True, channels=4, num_cells=3)
    images = torch.randn(2, 3, 32, 32)
    space.set_drop_path(net, 0.5)
    logits, auxiliary = net.train()(images)
    assert logits.shape == (2, 7)
    assert auxiliary is not None
    assert auxiliary.shape == (2, 7)
    (logits.sum() + auxiliary.sum()).backward()
    again, none = net.eval()(images)
    assert none is None
    assert torch.equal(again, net(images)[0])


def test_the_imagenet_form() -> None:
    """14 cells from C = 48; an image of 224 px reaches the last cell with 7 px."""
    space = Darts("darts", everywhere(*DARTS_OP_NAMES), imagenet=True)
    with torch.device("meta"):
        net = space.trained_form(space.single_path(space.decode(DARTS_V2)), num_classes=1000, auxiliary=True).train()
        logits, auxiliary = net(torch.empty(2, 3, 224, 224))
    assert logits.shape == (2, 1000)
    assert auxiliary is not None
    assert 4.6e6 < net.num_parameters() < 4.9e6  # Liu et al. 2019: 4.7 M


@pytest.mark.parametrize("space", DARTS_SPACES, ids=lambda space: space.name)
def test_a_smoke_run_searches_the_small_form(space: Darts) -> None:
    small = SPACES[space.smoke_name]
    assert isinstance(small, Darts)
    assert (small.channels, small.num_cells) == (4, 3)
    assert small.edges == space.edges
