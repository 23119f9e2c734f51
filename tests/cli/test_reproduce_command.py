"""`zcpt reproduce`: what it runs, what it shows, and what it refuses."""

from pathlib import Path

import pandas as pd
import pytest
from command_line import Zcpt, understood
from report_runs import save_search

from zcpt_ray.cli.reproduce import COSTLY, PAPER_TABLES, RUNS
from zcpt_ray.reports.reproduction import COMPARED, in_short

DOCS = Path(__file__).parents[2] / "docs"

SIZES = {"settings": 32, "darts": 64, "subspaces": 64, "mobilenet": 8, COSTLY: 16}
"""Images per minibatch by folder or part, where it is not 256."""


def test_what_is_finished_is_compared_here_and_from_records(zcpt: Zcpt, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed, error in enumerate((6.03, 6.11)):
        save_search(runs / "orders" / "cells" / f"c{seed}", seed, error, order="fixed")
    drawn = tmp_path / "drawn"
    from_records = ["--saved", str(runs / "records"), "--out", str(drawn)]
    for places in (["--out", str(runs)], from_records):
        for named in (["table5"], []):  # without a name all of which something is there
            ended = zcpt("reproduce", *named, "--finished", *places)
            assert (ended.code, ended.err) == (0, "")
            assert "Table 5: orders" in ended.out
            assert "5.98±0.50" in ended.out
            assert "+0.09" in ended.out
    made = {f"table5.{kind}" for kind in ("csv", "md", "tex", "parquet", "png", "svg")}
    assert {path.name for path in drawn.iterdir()} == {*made, "orders", "records"}
    assert pd.read_parquet(drawn / "table5.parquet").equals(pd.read_parquet(runs / "table5.parquet"))
    nothing = zcpt("reproduce", "table2", "--finished", "--out", str(runs))
    assert (nothing.code, nothing.err) == (2, f"error: nothing is finished in {runs}\n")


def test_the_records_give_the_numbers_of_the_page(zcpt: Zcpt, tmp_path: Path) -> None:
    """Tables and figures are drawn again without data; a row of the page is as a row of the tables."""
    ended = zcpt("reproduce", "--finished", "--saved", str(DOCS / "records"), "--out", str(tmp_path))
    assert (ended.code, ended.err) == (0, "")
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    tables = {path.stem: pd.read_parquet(path) for path in tmp_path.glob("*.parquet")}
    assert "table5" in tables
    assert all((tmp_path / f"{name}.png").exists() for name in tables)
    rows = [row for table in tables.values() for row in in_short(table).to_dict("records") if row["ours"] != "-"]
    assert len(rows) > 6
    lost = [row for row in rows if f"| {' | '.join(map(str, row.values()))} |" not in page]
    assert not lost


def test_bad_records_are_refused(zcpt: Zcpt, tmp_path: Path) -> None:
    empty = zcpt("reproduce", "--finished", "--saved", str(tmp_path / "none"), "--out", str(tmp_path))
    assert empty.code == 2
    assert "none has no records of zcpt reproduce, as initial.parquet" in empty.err
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "orders.parquet")
    other = zcpt("reproduce", "--finished", "--saved", str(tmp_path), "--out", str(tmp_path / "out"))
    assert other.code == 2
    assert "orders.parquet must have columns path and content, not a" in other.err


def test_unknown_tables_and_missing_data_are_refused(zcpt: Zcpt) -> None:
    assert "unknown table 'table9'; choose from table1, table2" in zcpt("reproduce", "table9").err
    refused = zcpt("reproduce", "table5", "--quick", "--local")
    assert refused.code == 2
    assert "zcpt reproduce needs" in refused.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("folder", RUNS)
@pytest.mark.parametrize("kind", ["commands", "quick"])
def test_every_command_is_understood(folder: str, kind: str) -> None:
    for part, words in getattr(RUNS[folder], kind).items():
        named = [word for word in words if word.startswith("--")]
        assert len(set(named)) == len(named)
        flags = understood(" ".join(["zcpt", *(f"'{word}'" for word in words), "--out", f"runs/{part}"]))
        seeds = flags.seeds
        study = part.startswith("seed")
        whole = {"settings": 10, "mobilenet": 3, "subspaces": 2}.get(folder, 1 if study else 4)  # as in the paper
        assert len(seeds) == (1 if kind == "quick" else whole)
        assert flags.config.dataset == "cifar10"
        assert flags.config.batch_size == (16 if kind == "quick" else SIZES.get(part, SIZES.get(folder, 256)))


def test_help_names_every_table(zcpt: Zcpt) -> None:
    printed = " ".join(zcpt("reproduce", "--help").out.replace("│", " ").split())
    assert ", ".join(PAPER_TABLES) in printed
    assert set(PAPER_TABLES) == set(COMPARED)
