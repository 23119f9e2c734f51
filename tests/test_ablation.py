import dataclasses
from pathlib import Path

import pytest

from zcpt_ray import ablation
from zcpt_ray.ablation import PRESETS, cell_directory, cell_label, grid, search_and_report, search_cells, shared_runs, smoke_grid
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.orders import ORDERS
from zcpt_ray.records import RunStore, SearchResult, Validation
from zcpt_ray.search import SearchData, propose, run_search_locally, validate

BASE = SearchConfig(space="toy-chain-3", batch_size=8)
AXES = {"num_proposals": (1, 2, 5), "num_validations": (0, 1, 12), "seed": (3,)}


def without_times(result: SearchResult) -> SearchResult:
    return dataclasses.replace(result, seconds={})


def test_cells_of_one_run_are_the_searches_alone(tmp_path: Path) -> None:
    cells = shared_runs(grid(BASE, "proposals-validations", AXES))
    assert len(cells) == 1
    (members,) = cells.values()
    for result in search_cells(members, tmp_path):
        alone = run_search_locally(result.config, RunStore(result.config))
        assert without_times(result) == without_times(alone)
        assert SearchResult.load(cell_directory(tmp_path, result.config)) == result


def test_nothing_is_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for two cells, nor when it is started again, nor when the grid grows."""
    proposed, validated = [], []
    monkeypatch.setattr("zcpt_ray.search.propose", lambda *args: proposed.append(args[2]) or propose(*args))
    monkeypatch.setattr("zcpt_ray.search.validate", lambda *args: validated.append(args[2:]) or validate(*args))

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


def test_what_a_trial_reports_grows_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "EMIT_SECONDS", 0)
    (members,) = shared_runs(grid(BASE, "proposals-validations", AXES)).values()
    rows = []
    search_and_report(members, tmp_path, rows.append)
    shares = [row["share"] for row in rows]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert [(row["proposals"], row["validations"]) for row in rows if "proposals" in row][:2] == [(5, 12), (5, 1)]


def test_a_cell_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_late(config: SearchConfig, data: SearchData, arch: str, minibatches: range) -> Validation:
        if minibatches.start >= 10:
            raise UserError("a score is NaN")
        return validate(config, data, arch, minibatches)

    monkeypatch.setattr("zcpt_ray.search.validate", fail_late)
    (members,) = shared_runs(grid(BASE, "proposals-validations", AXES | {"num_proposals": (1, 2)})).values()
    rows: list[dict[str, object]] = []
    with pytest.raises(UserError, match=r"^N 2, V 12: a score is NaN; N 1, V 12: a score is NaN$"):
        search_and_report(members, tmp_path, rows.append)
    assert [(row["proposals"], row["validations"]) for row in rows if "proposals" in row] == [(2, 1), (2, 0), (1, 1), (1, 0)]


def test_a_grid_is_a_preset_and_what_is_given_otherwise() -> None:
    cells = grid(BASE, "orders", {})
    assert len(cells) == len(ORDERS) * 4
    assert {cell.order for cell in cells} == set(ORDERS)
    assert {(cell.space, cell.batch_size) for cell in cells} == {("toy-chain-3", 8)}
    assert {cell.order for cell in grid(BASE, "orders", {"order": ("fixed",), "seed": ()})} == {"fixed"}
    assert {cell.order for cell in grid(dataclasses.replace(BASE, order="fixed"), "orders", {})} == {"fixed"}
    assert {cell.batch_size for cell in grid(SearchConfig(), "darts-proxies", {})} == {64}
    assert len(grid(SearchConfig(), "subspaces", {})) == 4 * 3 * 2
    for preset in PRESETS:
        small = smoke_grid(grid(SearchConfig(), preset, {}))
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
    ],
)
def test_a_bad_grid_is_refused(axes: dict[str, tuple[object, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid(BASE, "orders", axes)
    with pytest.raises(UserError, match="unknown preset 'nonsense'; choose from proxies, orders"):
        grid(BASE, "nonsense", {})
