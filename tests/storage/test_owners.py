"""Who works in a run directory: others are told, and the dead are taken off."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zcpt_ray.errors import UserError
from zcpt_ray.storage import owners
from zcpt_ray.storage.owners import at_work, require_free
from zcpt_ray.storage.paths import any_path


@pytest.mark.parametrize("uri", [False, True])
def test_another_run_is_kept_out_and_the_same_is_not(uri: bool, tmp_path: Path) -> None:
    place = any_path(f"file://{tmp_path}") if uri else tmp_path
    with at_work(place, "one"):
        with at_work(place, "one"):
            pass
        with pytest.raises(UserError, match=rf"in use by another run \(process {os.getpid()} on .*\); choose"):
            require_free(place, "other")
    require_free(place, "other")


def test_a_process_that_was_killed_is_taken_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "import os, signal; from pathlib import Path; from zcpt_ray.storage.owners import at_work\n"
        f"with at_work(Path({str(tmp_path)!r}), 'one'):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert len(list(tmp_path.glob("owners/*.json"))) == 1
    with caplog.at_level("INFO"), at_work(tmp_path, "other"):
        assert "has ended without a word" in caplog.text
        assert len(list(tmp_path.glob("owners/*.json"))) == 1
    assert not (tmp_path / "owners").exists()


@pytest.mark.parametrize(("ago", "there"), [(1, True), (owners.STALE_SECONDS + 1, False)])
def test_of_a_process_elsewhere_its_beat_counts(ago: float, there: bool, tmp_path: Path) -> None:
    (tmp_path / "owners").mkdir()
    about = {"run": "one", "host": "elsewhere", "pid": 1, "beat": time.time() - ago}
    (tmp_path / "owners/a.json").write_text(json.dumps(about))
    if there:
        with pytest.raises(UserError, match="process 1 on elsewhere"):
            require_free(tmp_path, "other")
    else:
        require_free(tmp_path, "other")
    assert (tmp_path / "owners/a.json").exists() == there


def test_it_says_now_and_then_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "BEAT_SECONDS", 0.01)
    with at_work(tmp_path, "one"):
        (path,) = tmp_path.glob("owners/*.json")
        first = json.loads(path.read_text())
        until = time.monotonic() + 60
        while json.loads(path.read_text())["beat"] == first["beat"]:
            assert time.monotonic() < until
    assert first["host"] == socket.gethostname()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": 1, "pid": "x", "host": "y", "beat": 0}'])
def test_files_that_are_none_of_these_are_passed_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "owners").mkdir()
    (tmp_path / "owners/a.json").write_text(content)
    require_free(tmp_path, "one")
