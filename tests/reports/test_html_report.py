"""The page: what it says of runs, and that it holds nothing but what it should."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
from report_runs import UNKIND, save_grid, save_search

from zcpt_ray.reports.decision_tables import BELOW_ZERO
from zcpt_ray.reports.html_report import report_page, write_report
from zcpt_ray.reports.page import table
from zcpt_ray.reports.run_folders import find_runs


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_escaped_and_self_contained(tmp_path: Path) -> None:
    """Names of folders, architectures and grids may be anything.

    There are the page's own script, and no address outside the page.
    """
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


def test_what_a_fit_compared_is_on_its_page(tmp_path: Path) -> None:
    save_search(tmp_path / "fit" / "search", 0, 5.0)
    table_of_fit = pd.DataFrame({"network": ["found", "mobilenetv2-half"], "test error [%]": [26.625, 27.5]})
    table_of_fit.to_parquet(tmp_path / "fit" / "comparison.parquet")
    path, problems = write_report([tmp_path / "fit"], tmp_path / "fit")
    page = path.read_text()
    assert problems == []
    assert "Trained alike on the same images" in page
    assert "mobilenetv2-half" in page
    assert "26.625" in page


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
    assert f"cannot read {tmp_path}/a/replay.parquet" in report_page(find_runs([tmp_path]))


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


def test_columns_sort_by_number_where_they_are_numbers() -> None:
    frame = pd.DataFrame(
        {
            "a": ["5.88±0.38", "-", "10.1"],
            "b": [True, False, True],
            "c": [1.5, float("nan"), float("inf")],
            "d": ["2/4", "x", "1"],
        }
    )
    made = table("t", frame.assign(e=["+0.10 [-0.2, +0.3]", "-0.5", "5.6 to 7"]))
    assert [column.numeric for column in made.columns] == [True, False, True, False, True]
    assert [[cell.key for cell in row] for row in made.rows] == [
        [5.88, None, 1.5, None, 0.1],
        [None, None, None, None, -0.5],
        [10.1, None, float("inf"), None, 5.6],
    ]
    assert made.rows[2][2].sorts_by == "Infinity"
