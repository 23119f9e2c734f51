"""The report: what it finds, what it says of what is damaged, and that the page holds nothing but what it should."""

import dataclasses
import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_runs import UNKIND, save_grid, save_search

from zcpt_ray.configs import TrainConfig
from zcpt_ray.errors import UserError
from zcpt_ray.files import any_path
from zcpt_ray.found_runs import find_runs
from zcpt_ray.page import table
from zcpt_ray.report import report_page
from zcpt_ray.results import BELOW_ZERO
from zcpt_ray.training_grid import Training, training_directory, write_grid
from zcpt_ray.training_records import EpochMetrics, TrainResult

JOB = Path(__file__).parent.parent / "jobs" / "report.py"


def call(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    """The job's exit code."""
    monkeypatch.setattr(sys, "argv", ["report", *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(JOB), run_name="__main__")
    return int(str(ended.value.code))


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_runs_are_found_by_their_files(tmp_path: Path) -> None:
    """Cells of an ablation belong to it, trainings to their grid; what Tune writes of its own is no search."""
    for seed in (0, 1):
        save_search(tmp_path / "ablation/cells" / str(seed), seed, 5.0)
    save_search(tmp_path / "alone", 0, 6.0)
    save_grid(tmp_path / "grid")
    tune = tmp_path / "ablation/tune/trial"
    tune.mkdir(parents=True)
    (tune / "params.json").write_text("{}")
    (tune / "result.json").write_text('{"a": 1}\n{"a": 2}\n')
    for place in (tmp_path, any_path(f"file://{tmp_path}")):
        runs = find_runs([place, place / "alone"])
        assert {key: len(found) for key, found in runs.searches.items()} == {f"{place}/ablation": 2, str(place): 1}
        (trainings,) = runs.trainings.values()
        assert [found.name for found in trainings].count("search seed 1") == 2
        assert list(runs.trainings) == [f"{place}/grid"]
        assert runs.problems == []
        assert "Learning curves" in report_page(runs)


def test_what_is_damaged_is_named_and_the_rest_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_search(tmp_path / "good", 0, 5.0)
    for name, text in {"cut": '{"config": {', "other": "[]", "empty": "", "config": '{"config": {"space": 3}}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    save_grid(tmp_path / "grid")
    (tmp_path / "grid/grid.json").write_text("{}")
    for trial in list((tmp_path / "grid/trials").iterdir())[:1]:
        (trial / "training.json").write_text('{"history": []}')
    assert call(monkeypatch, str(tmp_path), "nowhere", "--out", str(tmp_path / "out")) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7
    for part in (
        "cut/result.json is damaged",
        "other/result.json",
        "empty/result.json",
        "config/result.json",
        "grid.json is damaged",
    ):
        assert any(part in line for line in errors), part
    assert any("training.json is no training" in line for line in errors)
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<li>") >= 7
    assert "good" in page


@pytest.mark.parametrize(
    ("flags", "message"), [(("nowhere",), "cannot read nowhere"), ((), "name at least one"), ((".",), "nothing to")]
)
def test_nothing_to_report_is_one_line(
    flags: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_search(tmp_path / "good", 0, 5.0)
    (tmp_path / "file").write_text("")
    assert call(monkeypatch, str(tmp_path / "good"), "--out", str(tmp_path / "file" / "page.html")) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_page_is_escaped_and_self_contained(tmp_path: Path) -> None:
    """Names of folders, architectures and grids may be anything: there are the page's own script and no address outside it."""
    save_search(tmp_path / "<script>alert(1)<" / "a", 0, 5.0, UNKIND)
    save_search(tmp_path / "<script>alert(1)<" / "b", 1, 6.0, UNKIND, order="fixed")
    save_grid(tmp_path / "grid", (UNKIND, "$\\broken{$"))
    runs = find_runs([tmp_path])
    runs.problems.append(UNKIND)
    page = report_page(runs)
    tags = Tags(page).found
    assert sum(tag == "script" for tag, _ in tags) == 1
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(sources) == 2 * 2 + 2
    assert all(str(source).startswith("data:image/svg+xml;base64,") for source in sources)
    links = [attributes["href"] for tag, attributes in tags if "href" in attributes]
    assert all(str(link).startswith(("#", "data:,")) for link in links)
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
    assert "49" not in re.sub(r"base64,[\w+/=]*", "", page[page.index("<body>") :]).replace("&#3949", "")
    assert find_runs([tmp_path]).problems == []


def test_the_summary_has_every_run(tmp_path: Path) -> None:
    """Two settings with errors 5 and 7 of two seeds, and 6; four trainings with 3, 3.1, 4, 4.1."""
    for seed, error in enumerate((5.0, 7.0)):
        save_search(tmp_path / f"orders/random-{seed}", seed, error)
    save_search(tmp_path / "orders/fixed-0", 0, 6.5, order="fixed")
    save_grid(tmp_path / "grid")
    page = report_page(find_runs([tmp_path]))
    summary = page[page.index("All runs") : page.index("<nav")]
    assert "6.00±1.41 to 6.50" in summary
    assert "3.55±0.58" in summary
    assert "5.97±0.17" in page
    assert "2.64±0.16" not in page  # no search says how these architectures were found


def test_a_replay_that_a_budget_bent_is_explained(tmp_path: Path) -> None:
    save_search(tmp_path / "a", 0, 5.0)
    assert BELOW_ZERO not in report_page(find_runs([tmp_path]))
    pd.DataFrame({"edge": ["e"], "margin": [-1.0]}).to_parquet(tmp_path / "a/replay.parquet")
    assert BELOW_ZERO in report_page(find_runs([tmp_path]))
    (tmp_path / "a/replay.parquet").write_bytes(b"PAR1")
    assert "replay.parquet cannot be read" in report_page(find_runs([tmp_path]))


def test_a_grid_that_is_not_finished_says_so(tmp_path: Path) -> None:
    save_grid(tmp_path)
    next(tmp_path.rglob("training.json")).unlink()
    page = report_page(find_runs([tmp_path]))
    assert ">3/4<" in page


def test_the_paper_stands_beside_trainings_of_what_a_search_found(tmp_path: Path) -> None:
    searches = (save_search(tmp_path / f"searches/{seed}", seed, 5.0, f"arch{seed}", space="darts") for seed in (0, 1))
    save_grid(tmp_path / "grid", searches=tuple(searches))
    page = report_page(find_runs([tmp_path / "grid"]))
    assert "2.64±0.16" in page
    assert "search [CPU-hours]" in page


def test_trainings_of_several_commands_in_one_folder_stay_apart(tmp_path: Path) -> None:
    """By how they were trained; more seeds of the same belong together. A network that two searches found is in both their rows."""
    base = TrainConfig("arch", "darts", "cifar10", epochs=2)
    for epochs, seeds in ((2, (0, 1)), (3, (0,)), (2, (2,))):
        configs = [dataclasses.replace(base, epochs=epochs, seed=seed) for seed in seeds]
        for config in configs:
            metrics = EpochMetrics(epochs - 1, 0.1, 1.0, 50.0, 1.0, 3.0 + epochs, 1.0, 100.0, 60.0)
            TrainResult(config, (metrics,), 10**6, 10**6, "cpu", {}).save(training_directory(tmp_path, config))
        left = dataclasses.replace(base, epochs=epochs, seed=9)
        write_grid([Training(name, config) for name in ("seed 0", "seed 1") for config in [*configs, left]], tmp_path)
    runs = find_runs([tmp_path])
    assert {name: len(trained) for name, trained in runs.trainings.items()} == {
        f"{tmp_path}: epochs 2": 6,
        f"{tmp_path}: epochs 3": 2,
    }
    assert runs.trials == {f"{tmp_path}: epochs 2": 4, f"{tmp_path}: epochs 3": 1}
    page = report_page(runs)
    assert ">3/4<" in page
    assert page.count("By architecture, over training seeds</h") == 2


def test_columns_sort_by_number_where_they_are_numbers() -> None:
    frame = pd.DataFrame(
        {"a": ["5.88±0.38", "-", "10.1"], "b": [True, False, True], "c": [1.5, float("nan"), float("inf")], "d": ["2/4", "x", "1"]}
    )
    made = table("t", frame.assign(e=["+0.10 [-0.2, +0.3]", "-0.5", "5.6 to 7"]))
    assert [column.numeric for column in made.columns] == [True, False, True, False, True]
    assert [[cell.key for cell in row] for row in made.rows] == [
        [5.88, None, 1.5, None, 0.1],
        [None, None, None, None, -0.5],
        [10.1, None, float("inf"), None, 5.6],
    ]
    assert made.rows[2][2].sorts_by == "Infinity"


def test_a_smoke_run_reports_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "--smoke", "--out", str(tmp_path / "page.html")) == 0
    page = (tmp_path / "page.html").read_text()
    assert "nasbench201 on digits" in page
    assert page.count("data:image/svg+xml") == 2


def test_damage_of_everything_ends_with_all_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("?")
    with pytest.raises(UserError, match=r"a/result\.json .*b/result\.json "):
        find_runs([tmp_path])
