"""Where tables and figures go."""

import io
from pathlib import Path

import pandas as pd
from report_runs import drawing
from rich.console import Console

from zcpt_ray.reports.output import Output


def test_tables_are_saved_and_printed_and_figures_saved(tmp_path: Path) -> None:
    console = Console(width=60, file=io.StringIO())
    output = Output(tmp_path / "folder", console)
    output.table(pd.DataFrame({"a": [0.12345]}), "numbers", "Some numbers")
    output.figure(drawing(), "picture")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        *(f"numbers.{suffix}" for suffix in ("csv", "md", "parquet", "tex")),
        *(f"picture.{suffix}" for suffix in ("png", "svg")),
    }
    assert pd.read_csv(tmp_path / "folder/numbers.csv")["a"].tolist() == [0.12345]
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert printed.startswith("Some numbers\n")
    assert "0.123 " in printed
