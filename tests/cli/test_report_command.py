"""The command that writes the report: its page, its exit codes, and its lines about what is wrong."""

from pathlib import Path

import pytest
from command_line import Zcpt
from report_runs import save_grid, save_search


def test_what_is_damaged_is_named_and_the_rest_reported(tmp_path: Path, zcpt: Zcpt) -> None:
    save_search(tmp_path / "good", 0, 5.0)
    for name, text in {"cut": '{"config": {', "other": "[]", "empty": "", "config": '{"config": {"space": 3}}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    save_grid(tmp_path / "grid")
    (tmp_path / "grid/grid.json").write_text("{}")
    for trial in list((tmp_path / "grid/trials").iterdir())[:1]:
        (trial / "training.json").write_text('{"history": []}')
    ended = zcpt("report", str(tmp_path), "nowhere", "--out", str(tmp_path / "out"))
    assert ended.code == 1
    assert ended.out == f"Report: {tmp_path}/out/report.html\n"
    errors = ended.err.splitlines()
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
def test_nothing_to_report_is_one_line(flags: tuple[str, ...], message: str, tmp_path: Path, zcpt: Zcpt) -> None:
    ended = zcpt("report", *flags)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, zcpt: Zcpt) -> None:
    save_search(tmp_path / "good", 0, 5.0)
    (tmp_path / "file").write_text("")
    ended = zcpt("report", str(tmp_path / "good"), "--out", str(tmp_path / "file" / "page.html"))
    assert ended.code == 2
    assert "cannot write" in ended.err
