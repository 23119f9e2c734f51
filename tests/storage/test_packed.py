"""Folders of runs as one file."""

from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.errors import UserError
from zcpt_ray.storage.packed import save_packed, unpack


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_out_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kept = {"config.json": b"{}", "proposals/1.jsonl": b"{}\n{}", "cells/x/candidates.parquet": b"\x00PAR1"}
    left_out = {"best.png": b"png", "tune/state.json": b"[]", "owners/1.json": b"{}", "lock": b""}
    for name, content in (kept | left_out).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    save_packed(folder, tmp_path / "records" / "run.parquet")
    unpack(tmp_path / "records" / "run.parquet", tmp_path / "again")
    assert files(tmp_path / "again") == kept


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("1")
    save_packed(tmp_path / "run", tmp_path / "run.parquet")
    (tmp_path / "run" / "result.json").write_text("2")
    unpack(tmp_path / "run.parquet", tmp_path / "run")
    assert (tmp_path / "run" / "result.json").read_text() == "2"


@pytest.mark.parametrize("path", ["../x.json", "/x.json", "a/../../x.json"])
def test_files_never_come_out_elsewhere(path: str, tmp_path: Path) -> None:
    pd.DataFrame({"path": [path], "content": [b"{}"]}).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(UserError, match="holds a file that would lie outside of"):
        unpack(tmp_path / "bad.parquet", tmp_path / "run")
    assert {each.name for each in tmp_path.iterdir()} <= {"bad.parquet", "run"}
