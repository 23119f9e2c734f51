"""`zcpt reproduce`: what it runs, what it shows, and what it refuses."""

from pathlib import Path

import pytest
from command_line import Zcpt, understood

from zcpt_ray.cli.reproduce import PAPER_TABLES, RUNS
from zcpt_ray.reports.published import PublishedError
from zcpt_ray.reports.reproduction import COMPARED, Compared, comparison_table
from zcpt_ray.reports.tables import write_table


def test_saved_tables_are_shown_and_nothing_is_computed(zcpt: Zcpt, tmp_path: Path) -> None:
    table = comparison_table([Compared("order fixed", "error", PublishedError(5.98, 0.5), (6.03, 6.11))])
    write_table(table, tmp_path / "saved" / "table5")
    drawn = tmp_path / "drawn"
    for named in (["table5"], []):  # without a name all that are there
        ended = zcpt("reproduce", *named, "--saved", str(tmp_path / "saved"), "--out", str(drawn))
        assert (ended.code, ended.err) == (0, "")
        assert "Table 5: orders" in ended.out
        assert "5.98±0.50" in ended.out
        assert "+0.09" in ended.out
    assert {path.name for path in drawn.iterdir()} == {
        f"table5.{kind}" for kind in ("csv", "md", "tex", "parquet", "png", "svg")
    }
    empty = zcpt("reproduce", "--saved", str(tmp_path / "none"))
    assert empty.code == 2
    assert "has no table of zcpt reproduce, as table1.parquet" in empty.err
    missing = zcpt("reproduce", "table2", "--saved", str(tmp_path / "saved"))
    assert missing.code == 2
    assert "table2.parquet" in missing.err


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
        assert len(seeds) == (1 if kind == "quick" else 10 if folder == "settings" else 1 if part else 4)
        assert flags.config.dataset == "cifar10"
        assert flags.config.batch_size == (16 if kind == "quick" else 32 if folder == "settings" else 256)


def test_help_names_every_table(zcpt: Zcpt) -> None:
    printed = " ".join(zcpt("reproduce", "--help").out.replace("│", " ").split())
    assert ", ".join(PAPER_TABLES) in printed
    assert set(PAPER_TABLES) == set(COMPARED)
