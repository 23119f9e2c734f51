import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments import ablation
from zcpt_ray.experiments.ablation import (
    PRESETS,
    cell_directory,
    cell_label,
    grid,
    search_and_report,
    search_cells,
    shared_runs,
    smoke_grid,
)
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.validation import validate

BASE = SearchConfig(space="toy-chain-3", batch_size=8)
AXES = {"num_proposals": (1, 2, 5), "num_validations": (0, 1, 12), "seed": (3,)}


def without_times(result: SearchResult) -> SearchResult:
    return dataclasses.replace(result, seconds={})


def test_cells_of_one_run_are_the_searches_alone(tmp_path: Path) -> None:
    cells = shared_runs(grid(BASE, "proposals-validations", AXES))
    assert len(cells) == 1
    (members,) = cells.values()
    for cell, result in zip(members, search_cells(members, tmp_path), strict=True):
        assert result.config == cell.config
        assert without_times(result) == without_times(run_search_locally(cell))
        assert SearchResult.load(cell_directory(tmp_path, cell)) == result


def test_nothing_is_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for two cells, nor when it is started again, nor when the grid grows."""
    proposed, validated = [], []
    monkeypatch.setattr("zcpt_ray.search.local.propose", lambda *args: proposed.append(args[2]) or propose(*args))
    monkeypatch.setattr(
        "zcpt_ray.search.local.validate",
        lambda *args: validated.extend((arch, args[3]) for arch in args[2]) or validate(*args),
    )

    def run(axes: dict[str, tuple[int, ...]]) -> list[SearchResult]:
        ((members),) = shared_runs(grid(BASE, "proposals-validations", axes)).values()
        return list(search_cells(members, tmp_path))

    first = run(AXES)
    assert sorted(proposed) == [0, 1, 2, 3, 4]
    assert len(set(validated)) == len(validated) == 2 * len(first[0].candidates)
    proposed.clear()
    validated.clear()
    assert run(AXES) == first
    assert proposed == validated == []
    larger = run({**AXES, "num_proposals": (1, 7), "num_validations": (0, 12)})
    assert sorted(proposed) == [5, 6]
    assert {arch for arch, _ in validated}.isdisjoint(candidate.arch for candidate in first[0].candidates)
    assert larger[-1] == first[-1]  # N = 1, V = 0


def test_searches_of_a_grid_share_validation_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their order or scoring is; other proxies get their own."""
    validated: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "zcpt_ray.search.local.validate",
        lambda *args: validated.extend((args[0].proxy.name, arch) for arch in args[2]) or validate(*args),
    )
    base = dataclasses.replace(BASE, num_proposals=3, num_validations=4)
    cells = [
        Search.of(dataclasses.replace(base, order=order, scoring=scoring, proxy=proxy))
        for proxy in ("nwot", "params")
        for order in ("fixed", "random", "global-op-iter")
        for scoring in ("zc-pt", "disc-zc")
    ]
    results = [next(search_cells([cell], tmp_path)) for cell in cells]
    found = {(result.config.proxy, candidate.arch) for result in results for candidate in result.candidates}
    assert sorted(validated) == sorted(found)
    assert sum(len(result.candidates) for result in results) > len(found)
    for cell, result in zip(cells, results, strict=True):
        assert without_times(result) == without_times(run_search_locally(cell))


def test_what_a_trial_reports_grows_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "EMIT_SECONDS", 0)
    (members,) = shared_runs(grid(BASE, "proposals-validations", AXES)).values()
    rows = []
    search_and_report(members, tmp_path, rows.append)
    shares = [row["fraction"] for row in rows]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert [(row["proposals"], row["validations"]) for row in rows if "proposals" in row][:2] == [(5, 12), (5, 1)]


def test_a_cell_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_late(*args: Any) -> list[Validation]:
        if args[3].start >= 10:
            raise UserError("a score is NaN")
        return validate(*args)

    monkeypatch.setattr("zcpt_ray.search.local.validate", fail_late)
    (members,) = shared_runs(grid(BASE, "proposals-validations", AXES | {"num_proposals": (1, 2)})).values()
    rows: list[dict[str, object]] = []
    with pytest.raises(UserError, match=r"^N 2, V 12: a score is NaN; N 1, V 12: a score is NaN$"):
        search_and_report(members, tmp_path, rows.append)
    assert [(row["proposals"], row["validations"]) for row in rows if "proposals" in row] == [
        (2, 1),
        (2, 0),
        (1, 1),
        (1, 0),
    ]


CHOOSING = {
    "validation_proxy": ("", "synflow", "synflow+l2_norm"),
    "neighbours": (0, 1),
    "num_proposals": (2,),
    "num_validations": (2,),
    "seed": (3,),
}


def test_cells_that_choose_otherwise_share_their_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is the search alone; proposals are made once, and kept for a cell that comes later."""
    proposed = []
    monkeypatch.setattr("zcpt_ray.search.local.propose", lambda *args: proposed.append(args[2]) or propose(*args))
    base = dataclasses.replace(BASE, aggregation="mean-rank")
    ((members),) = shared_runs(grid(base, "", CHOOSING)).values()
    assert {member.config.aggregation for member in members} == {"log-rank", "mean-rank"}
    found = dict(zip([member.config for member in members], search_cells(members, tmp_path), strict=True))
    later = grid(BASE, "", CHOOSING | {"validation_proxy": ("snip",)})
    assert list(shared_runs([*members, *later])) == list(shared_runs(members))
    found |= dict(zip(configs(later), search_cells(later, tmp_path), strict=True))
    assert proposed == [0, 1]
    for config, result in found.items():
        assert without_times(result) == without_times(run_search_locally(Search.of(config)))
    assert len({result.best.score for result in found.values()}) > 3


def test_an_aggregation_needs_a_cell_that_joins_proxies() -> None:
    base = dataclasses.replace(BASE, aggregation="borda")
    cells = configs(grid(base, "", {"proxy": ("nwot", "nwot+synflow"), "seed": (3,)}))
    assert [cell.aggregation for cell in cells] == ["log-rank", "borda"]
    with pytest.raises(UserError, match="aggregation 'borda' is for several proxies joined by"):
        grid(base, "", {"proxy": ("nwot", "synflow")})


def test_ops_by_an_aggregate_are_not_shared_with_another_aggregation() -> None:
    cells = [
        Search.of(dataclasses.replace(BASE, proxy="synflow+l2_norm", aggregation=aggregation))
        for aggregation in ("log-rank", "borda")
    ]
    assert len(shared_runs(cells)) == 2


def configs(cells: Sequence[Search]) -> list[SearchConfig]:
    return [cell.config for cell in cells]


def test_a_grid_is_a_preset_and_what_is_given_otherwise() -> None:
    cells = configs(grid(BASE, "orders", {}))
    assert len(cells) == len(ORDERS) * 4
    assert {cell.order for cell in cells} == set(ORDERS)
    assert {(cell.space, cell.batch_size) for cell in cells} == {("toy-chain-3", 8)}
    fixed = configs(grid(BASE, "orders", {"order": ("fixed",), "seed": ()}))
    assert {cell.order for cell in fixed} == {"fixed"}
    fixed = configs(grid(dataclasses.replace(BASE, order="fixed"), "orders", {}))
    assert {cell.order for cell in fixed} == {"fixed"}
    assert {cell.batch_size for cell in configs(grid(SearchConfig(), "darts-proxies", {}))} == {64}
    given = configs(grid(SearchConfig(), "darts-proxies", {}, given=["batch_size", "seed"]))
    assert {(cell.batch_size, cell.seed) for cell in given} == {(SearchConfig.batch_size, 0)}
    assert {cell.seed for cell in configs(grid(SearchConfig(seed=7), "", {}))} == {7}
    assert len(grid(SearchConfig(), "subspaces", {})) == 4 * 3 * 2
    assert [cell.proxy for cell in configs(grid(BASE, "", {"proxy": ("nwot", "snip"), "seed": (1,)}))] == [
        "nwot",
        "snip",
    ]
    for preset in PRESETS:
        small = configs(smoke_grid(grid(SearchConfig(), preset, {})))
        assert 1 <= len(small) <= 8
        assert {(cell.dataset, cell.seed) for cell in small} == {("digits", 0)}


def test_a_cell_is_named_by_what_varies() -> None:
    cells = grid(BASE, "proposals-validations", AXES)
    assert cell_label(cells[0], cells) == "N 1, V 0"
    assert cell_label(cells[0], cells[:1]) == "seed 3"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"proxy": ("nwot", "nonsense")}, "unknown proxy 'nonsense'"),
        ({"order": ("nonsense",)}, "unknown order 'nonsense'"),
        ({"num_proposals": (0,)}, "num_proposals must be at least 1, got 0"),
        ({"seed": (1, 1)}, "seed has a value twice: 1, 1"),
        ({"colour": ("red",)}, "unknown axis 'colour'; choose from space, dataset, batch_size, proxy"),
    ],
)
def test_a_bad_grid_is_refused(axes: dict[str, tuple[object, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid(BASE, "orders", axes)
    with pytest.raises(UserError, match="unknown preset 'nonsense'; choose from proxies, orders"):
        grid(BASE, "nonsense", {})
