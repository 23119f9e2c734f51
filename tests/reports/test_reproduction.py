"""The paper's numbers beside ours, from files made by hand."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from report_runs import benchmark_row

from zcpt_ray.cli.reproduce import PAPER_TABLES, RUNS
from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.figures import paper_and_ours
from zcpt_ray.reports.published import TABLE_2, TABLE_5, PublishedError
from zcpt_ray.reports.reproduction import COMPARED, Compared, comparison_table, in_short
from zcpt_ray.search.records import ScoredCandidate, SearchResult


def save(folder: Path, errors: list[float], proposals: int = 1, **fields: object) -> None:
    """A finished search whose pick has these errors of training seeds."""
    config = SearchConfig(**{"dataset": "cifar10", "device": "cpu"} | fields)
    candidates = tuple(ScoredCandidate(f"a{number}", 1.0, 1, number, 1, 1) for number in range(proposals))
    row = benchmark_row(sum(errors) / len(errors), errors)
    result = SearchResult(config, candidates[0], candidates, 1, {}, row, {})
    result.save(folder / f"{config.order}-{config.proxy}-{config.method}-{config.num_proposals}-{config.seed}")


def test_within_means_that_the_ranges_meet() -> None:
    """By hand: 5 and 7 have mean 6 and deviation sqrt(2)."""
    rows = [
        Compared("near", "error", PublishedError(7.0, 0.0), (5.0, 7.0)),
        Compared("far", "error", PublishedError(7.5, 0.05), (5.0, 7.0)),
        Compared("reaches", "error", PublishedError(7.5, 0.1), (5.0, 7.0)),
        Compared("one", "error", PublishedError(7.5, 0.1), (7.62,)),
        Compared("none", "error", PublishedError(7.5, 0.1), ()),
    ]
    table = comparison_table(rows).set_index("row")
    assert table["within"].to_dict() == {"near": "yes", "far": "no", "reaches": "yes", "one": "no", "none": "-"}
    assert table.at["near", "difference"] == -1.0
    assert table["each"].to_dict() == {"near": "5 7", "far": "5 7", "reaches": "5 7", "one": "7.62", "none": ""}
    shown = in_short(comparison_table(rows)).set_index("row")
    assert shown.loc["far", ["paper", "ours", "difference"]].tolist() == ["7.50±0.05", "6.00±1.41", "-1.50"]
    assert shown.loc["one", ["paper", "ours"]].tolist() == ["7.50±0.10", "7.62"]
    assert shown.loc["none", ["ours", "difference"]].tolist() == ["-", "-"]


def test_every_name_has_a_comparison_and_commands() -> None:
    assert set(PAPER_TABLES) == set(COMPARED)
    assert {folder for _, folders in PAPER_TABLES.values() for folder in folders} == set(RUNS)


def test_orders(tmp_path: Path) -> None:
    save(tmp_path, [5.9, 6.1], order="fixed", seed=0)
    save(tmp_path, [6.3], order="fixed", seed=1)
    table = comparison_table(list(COMPARED["table5"](tmp_path))).set_index("row")
    cifar10 = table[table["quantity"].str.startswith("cifar10:")]
    assert list(cifar10.index) == list(TABLE_5)
    assert (cifar10.at["fixed", "ours"], cifar10.at["fixed", "values"]) == (pytest.approx(6.1), 3)
    assert cifar10.at["random", "values"] == 0


def test_searches_are_called_as_in_table_2(tmp_path: Path) -> None:
    proxies, baselines = tmp_path / "proxies", tmp_path / "baselines"
    save(proxies, [5.0], proxy="nwot-released")
    save(proxies, [6.0], proxy="snip")
    save(baselines, [7.0], scoring="disc-zc", proxy="nwot")
    save(baselines, [8.0], method="random", num_proposals=1)
    save(baselines, [9.0], method="random", num_proposals=1000, proxy="nwot")
    save(baselines, [10.0], method="prune", proxy="tenas", batch_size=16)
    table = comparison_table(list(COMPARED["table2"](proxies, baselines))).set_index("row")
    assert list(table.index) == list(TABLE_2)
    assert table["ours"].dropna().to_dict() == {
        "zero-cost-pt snip": 6.0,
        "zero-cost-pt nwot": 5.0,
        "random": 8.0,
        "naswot nwot": 9.0,
        "te-nas": 10.0,
        "zero-cost-disc nwot": 7.0,
    }
    assert table.at["zero-cost-pt snip", "quantity"] == "cifar10: test error [%]"
    assert table.at["te-nas", "quantity"] == "cifar10: test error [%], batch 16"


def test_seeds_and_counts(tmp_path: Path) -> None:
    save(tmp_path / "a3", [90.0], proxy="tenas", seed=2)
    (row,) = [each for each in COMPARED["tableA3"](tmp_path / "a3") if each.ours]
    assert (row.row, row.paper.mean, list(row.ours)) == ("seed 2", 90.0, [90.0])
    for seed, distinct in enumerate((27, 29)):
        save(tmp_path / "4", [5.0], distinct, num_proposals=100, seed=seed)
    save(tmp_path / "4", [5.0], 3, num_proposals=3)
    (count,) = COMPARED["figure4"](tmp_path / "4")
    assert (sorted(count.ours), count.paper.mean) == ([27, 29], 27.8)


def test_studies_of_several_seeds(tmp_path: Path) -> None:
    for seed, correlation in enumerate((0.7, 0.8)):
        (tmp_path / f"seed{seed}").mkdir()
        spearman = pd.DataFrame({"function": ["zc-pt(nwot-released)"], "best-acc": [correlation]})
        spearman.to_parquet(tmp_path / f"seed{seed}" / "initial-spearman.parquet")
        chain = pd.DataFrame({"space": ["toy-chain-8"], "zc-pt(nwot)": [correlation]})
        chain.assign(**{"disc-zc(nwot)": 0.1}).to_parquet(tmp_path / f"seed{seed}" / "toy-chain-spearman.parquet")
        ops = pd.DataFrame({"architectures": ["zc-pt(nwot-released)"], "none": [seed], "skip_connect": [9]})
        ops = ops.assign(nor_conv_1x1=20, nor_conv_3x3=31, avg_pool_3x3=0)
        ops.to_parquet(tmp_path / f"seed{seed}" / "final-ops.parquet")
        ops.assign(skip_connect=2).to_parquet(tmp_path / f"seed{seed}" / "initial-ops.parquet")
        picked = pd.DataFrame({"function": ["tenas"], "error": [7.19]})
        picked.to_parquet(tmp_path / f"seed{seed}" / "initial-picked.parquet")
    figure_2 = {each.row: list(each.ours) for each in COMPARED["figure2"](tmp_path)}
    assert figure_2["zc-pt(nwot)"] == [0.7, 0.8]
    assert figure_2["tenas"] == []
    assert [list(each.ours) for each in COMPARED["figureA6"](tmp_path)] == [[0.1, 0.1], [0.7, 0.8]]
    a2 = {(each.row, each.quantity): list(each.ours) for each in COMPARED["tableA2"](tmp_path)}
    assert a2["zc-pt(nwot)", "none, edges of 60"] == [0, 1]
    a1 = {(each.row, each.quantity): list(each.ours) for each in COMPARED["tableA1"](tmp_path)}
    assert a1["zc-pt(nwot)", "skip_connect, edges of 6"] == [2, 2]
    assert {each.row: list(each.ours) for each in COMPARED["table1"](tmp_path)}["tenas"] == [7.19, 7.19]


def test_darts(tmp_path: Path) -> None:
    normal = "('sep_conv_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0)"
    config = SearchConfig(space="darts", dataset="cifar10", device="cpu", order="random")
    best = ScoredCandidate(f"Genotype(normal=[{normal}], ...)", 1.0, 1, 0, 1, 1)
    result = SearchResult(config, best, (best,), 1, {}, None, {}, costs={"trained": {"params": 4_660_000, "flops": 1}})
    result.save(tmp_path / "one")
    rows = {(each.row, each.quantity): each for each in COMPARED["table4"](tmp_path)}
    assert rows["random", "parameters [M]"].ours == [4.66]
    assert comparison_table([rows["random", "parameters [M]"]])["within"].tolist() == ["yes"]
    assert rows["random", "sep_conv_3x3 of 16"].ours == [2.0]
    assert rows["global-op-iter", "parameters [M]"].ours == []


def test_mobilenet(tmp_path: Path) -> None:
    """What the paper only draws has no number to be compared with."""
    config = SearchConfig(space="mobilenet", dataset="cifar10", device="cpu")
    for seed, ops in enumerate((["MB6_K7"] * 20 + ["skip"], ["MB6_K7"] * 19 + ["MB3_K3"] * 2)):
        best = ScoredCandidate(",".join(ops), 1.0, 1, 0, 1, 1)
        costs = {"scored": {"params": 8_000_000 + 200_000 * seed - 990 * 1729, "flops": 1}}  # with 10 classes
        seeded = dataclasses.replace(config, seed=seed)
        SearchResult(seeded, best, (best,), 1, {}, None, {}, costs=costs).save(tmp_path / str(seed))
    table = comparison_table(list(COMPARED["table7"](tmp_path)))
    assert table.set_index("row").loc["network", ["paper", "ours", "within"]].tolist() == [8.1, 8.1, "yes"]
    short = in_short(table).set_index("row")
    assert short.loc["MB6_K7"].tolist() == ["layers of 21", "-", "19.50±0.71", "-", "-"]
    assert short.loc["skip", "ours"] == "0.50±0.71"
    paper_and_ours(table).canvas.draw()


def test_settings(tmp_path: Path) -> None:
    for size, weights, judged in ((16, 1, 2), (32, 1, 0), (32, 10, 1)):
        fields = {"batch_size": size, "proposal_weights": weights, "validation_weights": judged}
        save(tmp_path / f"{size}-{weights}", [float(size + weights)], **fields)
    rows = {each.row: list(each.ours) for each in COMPARED["settings"](tmp_path)}
    assert rows == {
        "nwot-released, batch 16: proposed with 1 set of weights, judged with 2": [17.0],
        "nwot-released, batch 32: proposed with 1 set of weights, each judged with its own": [33.0],
        "nwot-released, batch 32: proposed with 10 sets of weights, judged with 1": [42.0],
    }


def test_other_spaces(tmp_path: Path) -> None:
    save(tmp_path, [7.0467], space="nasbench-macro")
    rows = {each.row: each for each in COMPARED["tableA10"](tmp_path)}
    assert set(rows) == {"nasbench-macro", "nasbench1shot1-1", "nasbench1shot1-2", "nasbench1shot1-3"}
    assert comparison_table([rows["nasbench-macro"]])["within"].tolist() == ["yes"]
    assert dataclasses.astuple(rows["nasbench-macro"])[3] == [7.0467]


def test_subspaces(tmp_path: Path) -> None:
    best = ScoredCandidate(
        "Genotype(normal=[('sep_conv_3x3', 0), ('noise', 1), ('sep_conv_3x3', 0)], ...)", 1.0, 1, 0, 1, 1
    )
    config = SearchConfig(space="darts-s4", dataset="cifar10", device="cpu")
    SearchResult(config, best, (best,), 1, {}, None, {}).save(tmp_path / "one")
    rows = {each.row: list(each.ours) for each in COMPARED["tableA9"](tmp_path)}
    assert rows.pop("darts-s4, cifar10") == [2.0]
    assert not any(rows.values())
