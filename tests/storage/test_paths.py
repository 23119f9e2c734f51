import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from zcpt_ray.configs import SearchConfig
from zcpt_ray.engine.memory import saved
from zcpt_ray.errors import UserError
from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.tables import write_table
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.storage.paths import RemotePath, any_path, cache_directory, data_directory, whole_file, write_whole
from zcpt_ray.storage.run_directory import write_json


def test_a_uri_is_used_like_a_path(tmp_path: Path) -> None:
    place = any_path(f"file://{tmp_path}/runs/")
    assert isinstance(place, RemotePath)
    assert not place.exists()
    assert list(place.glob("*")) == []
    with whole_file(place / "a" / "b.json") as temporary:
        temporary.write_text("hi")
    assert (tmp_path / "runs/a/b.json").read_text() == "hi"
    file = place / "a" / "b.json"
    assert (file.read_text(), file.name, str(file.parent)) == ("hi", "b.json", f"file://{tmp_path}/runs/a")
    assert (str(file.with_suffix(".md")), file.is_dir(), file.parent.is_dir()) == (
        f"file://{tmp_path}/runs/a/b.md",
        False,
        True,
    )
    (place / "a" / "c.txt").write_text("")
    assert list((place / "a").glob("*.json")) == [file]
    file.unlink()
    assert not file.exists()


def test_what_a_uri_says_of_its_server_stays_at_its_end() -> None:
    place = any_path("s3://bucket/runs/?endpoint_override=localhost:9000")
    assert str(place / "x.json") == "s3://bucket/runs/x.json?endpoint_override=localhost:9000"
    assert any_path("runs/x") == Path("runs/x")
    assert any_path(Path("x")) == Path("x")


def test_a_local_path_may_begin_with_the_folder_of_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert any_path("~/runs") == any_path(Path("~/runs")) == tmp_path / "runs"
    assert str(any_path("s3://bucket/~/runs")) == "s3://bucket/~/runs"
    with pytest.raises(UserError, match="cannot find the folder ~nobody-of-that-name/runs"):
        any_path("~nobody-of-that-name/runs")


def test_data_and_what_is_kept_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, folder in (("ZCPT_DATA", data_directory), ("ZCPT_CACHE", cache_directory)):
        monkeypatch.setenv(variable, "~/there")
        assert folder() == tmp_path / "there"
        monkeypatch.setenv(variable, "")
        assert folder().name == "zcpt_ray"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    for place in (tmp_path, any_path(f"file://{tmp_path}")):
        with pytest.raises(ZeroDivisionError), whole_file(place / "x") as temporary:
            temporary.write_text(f"half {1 / 0}")
        assert not (place / "x").exists()
        assert not list(tmp_path.iterdir())


@contextmanager
def no_room_for(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path, kept = tmp_path / "table", pd.DataFrame({"x": range(3)})
    write_table(kept, path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    writes: list[Callable[[], object]] = [
        lambda: write_table(pd.DataFrame({"x": range(9999)}), path),
        lambda: write_whole(path.with_suffix(".csv"), "x" * 2000),
        lambda: write_whole(path.with_suffix(".pt"), saved(torch.zeros(999))),
        lambda: write_json(path.with_suffix(".json"), ["x"] * 999),
        lambda: save_figure(Figure(), path),
    ]
    for write in writes:
        with no_room_for(1000), pytest.raises(UserError, match=r"cannot write .*/table\.\w+: File too large; what was"):
            write()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", any_path(f"file://{tmp_path}/file")):
        with pytest.raises(UserError, match=r"cannot write .*file/x/y.json: "):
            write_json(place / "x" / "y.json", {})


def test_an_unknown_kind_of_uri_is_one_line() -> None:
    with pytest.raises(UserError, match="cannot open nonsense://x: Unrecognized filesystem type"):
        any_path("nonsense://x").exists()


def test_a_search_with_tables_and_figures_lies_behind_a_uri(tmp_path: Path) -> None:
    search = Search.of(SearchConfig(space="toy-chain-2", num_proposals=2, num_validations=12, batch_size=8))
    place = any_path(f"file://{tmp_path}/run")
    first = run_search_locally(search, place)
    again = RunStore(search, place)
    assert again.missing_proposals() == again.missing_slices() == []
    first.save(place)
    assert SearchResult.load(place) == first
    write_table(pd.DataFrame({"a": [1]}), place / "table")
    save_figure(Figure(), place / "figure")
    assert {"table.csv", "table.parquet", "table.md", "figure.svg"} < {
        entry.name for entry in (tmp_path / "run").iterdir()
    }
    with pytest.raises(UserError, match="another configuration"):
        RunStore(search.with_config(seed=7), place)
