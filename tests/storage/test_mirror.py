import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zcpt_ray.cli.mirror import main
from zcpt_ray.errors import UserError
from zcpt_ray.storage.mirror import Place, mirror


def copy(source: Path | str, target: Path | str) -> int:
    return mirror(Place.find(str(source)), Place.find(str(target)))


def test_what_the_target_lacks_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "run" / "proposals").mkdir(parents=True)
    (source / "run" / "proposals" / "00000.json").write_text("{}")
    (source / "run" / "result.json.123.tmp").write_text("half")
    assert copy(source, target) == 1
    assert copy(source, target.as_uri()) == 0
    (target / "other.json").write_text("kept")
    (source / "run" / "result.json").write_text("longer")
    (source / "run" / "proposals" / "00000.json").write_text("[]")
    os.utime(source / "run" / "proposals" / "00000.json", (time.time() + 9, time.time() + 9))
    assert copy(source, target) == 2
    copied = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert copied == {"run/proposals/00000.json": "[]", "run/result.json": "longer", "other.json": "kept"}


@pytest.mark.parametrize(
    ("name", "older", "content", "copied"),
    [
        ("result.json", 9, "x", False),  # older: whatever its size
        ("result.json", 9, "much longer", False),
        ("result.json", -9, "x", True),
        ("a.jsonl", 9, "much longer", True),  # it has grown while it was copied
        ("a.jsonl", 9, "x", False),
    ],
)
def test_an_older_file_never_replaces_a_newer_one(
    name: str, older: int, content: str, copied: bool, tmp_path: Path
) -> None:
    for folder, text in (("source", content), ("target", "there")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    os.utime(tmp_path / "source" / name, (time.time() - older, time.time() - older))
    assert copy(tmp_path / "source", tmp_path / "target") == copied
    assert (tmp_path / "target" / name).read_text() == (content if copied else "there")


def test_nothing_there_is_nothing_to_copy(tmp_path: Path) -> None:
    assert copy(tmp_path / "missing", tmp_path / "target") == 0


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot open gopher://host: "):
        Place.find("gopher://host")
    (tmp_path / "a").write_text("a file")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "b").write_text("b")
    with pytest.raises(UserError, match="cannot write "):
        copy(tmp_path / "source", tmp_path / "a" / "below")


def test_the_command_copies_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.json").write_text("1")
    main(["a", "b"])
    main(["a", "b"])
    assert capsys.readouterr().out == "1 file copied from a to b\n0 files copied from a to b\n"
    with pytest.raises(SystemExit) as ended:
        main(["a", "gopher://host"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: cannot open gopher://host: ")


def test_the_command_goes_on_copying(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("in the way at first")
    command = [sys.executable, "-c", "from zcpt_ray.cli.mirror import main; main()", "a", "b", "--every", "0.1"]
    with (tmp_path / "log").open("w") as log:
        going_on = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        (tmp_path / "a" / "1.json").write_text("1")
        wait_until(lambda: (tmp_path / "log").read_text().endswith("; trying again\n"))
        (tmp_path / "b").unlink()
        wait_until(lambda: (tmp_path / "b" / "1.json").exists())
    finally:
        going_on.kill()
        going_on.wait()


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)
