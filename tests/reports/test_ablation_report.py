"""What an ablation ends in: files and a table."""

import io
from pathlib import Path

import pandas as pd
from report_runs import save_search
from rich.console import Console

from zcpt_ray.reports.ablation_report import report_ablation
from zcpt_ray.reports.output import Output
from zcpt_ray.search.records import SearchResult

TABLE_FILES = {f"ablation.{suffix}" for suffix in ("csv", "md", "parquet", "tex")}


def report(results: list[SearchResult], out: Path) -> tuple[pd.DataFrame | None, str, set[str]]:
    """The table, what is printed, and the files."""
    console = Console(width=120, file=io.StringIO())
    table = report_ablation(results, Output(out, console))
    assert isinstance(console.file, io.StringIO)
    files = {path.name for path in out.iterdir()} if out.exists() else set()
    return table, console.file.getvalue(), files


def test_nothing_finished_is_nothing_to_report(tmp_path: Path) -> None:
    assert report([], tmp_path / "out") == (None, "", set())


def test_settings_are_compared_seed_by_seed(tmp_path: Path) -> None:
    """Orders differ by 1 and 3 on two seeds."""
    errors = {("random", 0): 5.0, ("random", 1): 6.0, ("fixed", 0): 6.0, ("fixed", 1): 9.0}
    results = [
        save_search(tmp_path / f"{order}{seed}", seed, error, order=order) for (order, seed), error in errors.items()
    ]
    table, text, files = report(results, tmp_path / "out")
    assert table is not None
    assert table["cifar10"].tolist() == ["7.50±2.12", "5.50±0.71"]
    assert text.startswith("Searches over seeds; test errors [%], mean ± standard deviation\n")
    suffixes = ("csv", "md", "parquet", "tex")
    intervals = {f"intervals.{suffix}" for suffix in (*suffixes, "png", "svg")}
    assert files == TABLE_FILES | {f"pairs.{suffix}" for suffix in suffixes} | intervals
    (pair,) = pd.read_parquet(tmp_path / "out/pairs.parquet").to_dict("records")
    assert (pair["first"], pair["second"], pair["pairs"]) == ("order fixed", "order random", 2)
    assert pair["first - second"].startswith("+2.00 ")


def test_where_n_and_v_alone_vary_there_is_figure_4(tmp_path: Path) -> None:
    results = [save_search(tmp_path / str(n), 0, 5.0 + n, num_proposals=n) for n in (1, 100)]
    table, _, files = report(results, tmp_path / "out")
    assert table is not None
    assert {f"proposals-validations.{suffix}" for suffix in ("csv", "parquet", "png", "svg")} <= files
    assert ">paper<" in (tmp_path / "out/proposals-validations.svg").read_text()
    both = [*results, save_search(tmp_path / "fixed", 0, 5.0, order="fixed")]
    assert "proposals-validations.csv" not in report(both, tmp_path / "both")[2]


def test_without_a_benchmark_there_are_no_errors(tmp_path: Path) -> None:
    result = save_search(tmp_path / "a", 0, 5.0)
    raw = result.to_dict() | {"benchmark": None, "num_known": None}
    table, text, files = report([SearchResult.from_dict(raw)], tmp_path / "out")
    assert table is not None
    assert "cifar10" not in table
    assert text.startswith("Searches over seeds\n")
    assert files == TABLE_FILES
