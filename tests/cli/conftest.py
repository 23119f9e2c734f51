import sys
from pathlib import Path

import pytest
from command_line import Ended, Zcpt

from zcpt_ray.cli import main


@pytest.fixture(autouse=True)
def empty_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where tables and images would lie. The working directory and the cache are the test's own too."""
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def zcpt(capsys: pytest.CaptureFixture[str]) -> Zcpt:
    """Runs the command in this process, where torch is imported already."""

    def run(*arguments: str) -> Ended:
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def narrow_zcpt(monkeypatch: pytest.MonkeyPatch, zcpt: Zcpt) -> Zcpt:
    """The same where standard output is a terminal of 80 columns, one that draws nothing."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "0")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        return zcpt(*arguments)

    return run
