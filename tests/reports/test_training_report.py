"""What a grid of trainings ends in: files and a table."""

import io
from pathlib import Path

from report_runs import save_training
from rich.console import Console

from zcpt_ray.reports.output import Output
from zcpt_ray.reports.training_report import report_trainings
from zcpt_ray.reports.training_tables import Trained
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.records import TrainResult


def trained(folder: Path, name: str, seed: int, error: float) -> Trained:
    save_training(folder / f"{name}{seed}", TrainConfig(name, space="darts", seed=seed), [error + 1, error])
    return Trained(name, TrainResult.load(folder / f"{name}{seed}"))


def test_nothing_finished_is_nothing_to_report(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    assert report_trainings([], Output(tmp_path / "out", console)) is None
    assert not (tmp_path / "out").exists()


def test_trainings_end_in_tables_and_figures(tmp_path: Path) -> None:
    """By architecture and all together; their differences; curves; sizes beside the paper's."""
    results = [trained(tmp_path, name, seed, 3.0 + index + seed) for index, name in enumerate("ab") for seed in (0, 1)]
    console = Console(width=100, file=io.StringIO())
    table = report_trainings(results, Output(tmp_path / "out", console))
    assert table is not None
    assert table[["trained", "test error [%]"]].values.tolist() == [
        ["a", "3.50±0.71"],
        ["b", "4.50±0.71"],
        ["all", "4.00±0.82"],
    ]
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Test error [%] after the last epoch" in text
    assert "Differences of mean test errors [%]" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{stem}.{suffix}"
        for stem, suffixes in {
            "trainings": ("csv", "md", "parquet", "tex"),
            "pairs": ("csv", "md", "parquet", "tex"),
            "learning-curves": ("csv", "md", "parquet", "tex", "png", "svg"),
            "error-and-params": ("png", "svg"),
        }.items()
        for suffix in suffixes
    }
    assert "Zero-Cost-PT, random" in (tmp_path / "out/error-and-params.svg").read_text()
