"""Finished correlations side by side."""

import json
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.errors import UserError
from zcpt_ray.proxies.evidence import measured_correlations
from zcpt_ray.reports.correlation_report import joined_correlations, readable_map
from zcpt_ray.reports.tables import write_table


def save(folder: Path, space: str, correlations: dict[str, float], networks: int) -> Path:
    rows = [
        {"proxy": name, "Spearman": value, "Spearman low": value - 0.1, "Spearman high": value + 0.1, "Kendall": 0.0}
        for name, value in correlations.items()
    ]
    write_table(pd.DataFrame(rows), folder / "correlation")
    write_table(pd.DataFrame({"arch": [str(n) for n in range(networks)]}), folder / "networks")
    (folder / "config.json").write_text(json.dumps({"space": space, "dataset": "cifar10", "count": 100}))
    return folder


def test_a_row_for_each_space_and_proxy(tmp_path: Path) -> None:
    one = save(tmp_path / "a", "pit", {"nwot": 0.5, "params": 0.9}, 73)
    other = save(tmp_path / "b", "darts", {"nwot": 0.7}, 100)
    table = joined_correlations([one, other])
    assert table["networks"].tolist() == [73, 73, 100], "those that have a value, not those that were asked for"
    assert table.columns.tolist() == ["space", "task", "proxy", "spearman", "low", "high", "networks"]
    shown = readable_map(table)
    assert shown.to_dict("list") == {
        "proxy": ["params", "nwot"],
        "pit, cifar10": ["0.90", "0.50"],
        "darts, cifar10": ["-", "0.70"],
    }


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished correlation"):
        joined_correlations([tmp_path])


def test_the_table_of_the_package_is_whole() -> None:
    rows = measured_correlations()
    assert len({(row.space, row.task, row.proxy) for row in rows}) == len(rows)
    assert all(-1 <= row.low <= row.spearman <= row.high <= 1 and row.networks >= 50 for row in rows)
    measured = {row.space for row in rows}
    assert {row.space for row in rows if row.proxy == "params"} == measured, "each has its control"
