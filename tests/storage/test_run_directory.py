"""Whose a run directory is, and the JSON in it."""

import json
import math
from pathlib import Path

import pytest

from zcpt_ray.errors import UserError
from zcpt_ray.storage.run_directory import claim_directory, read_json, write_json

CONFIG = {"space": "darts", "seed": 0, "num_proposals": 10}


def claim(directory: Path, unused: bool = False, **changes: object) -> None:
    claim_directory(directory, CONFIG | changes, may_differ=["num_proposals"], is_unused=lambda: unused)


def test_a_directory_belongs_to_one_configuration(tmp_path: Path) -> None:
    claim(tmp_path / "run")
    claim(tmp_path / "run")
    assert read_json(tmp_path / "run" / "config.json") == CONFIG
    claim(tmp_path / "run", num_proposals=20)
    assert read_json(tmp_path / "run" / "config.json")["num_proposals"] == 20
    with pytest.raises(UserError, match=r"holds a run with another configuration \(seed 0\); choose another --out"):
        claim(tmp_path / "run", seed=1)
    claim(tmp_path / "run", unused=True, seed=1)
    assert read_json(tmp_path / "run" / "config.json")["seed"] == 1


def test_of_a_group_only_what_differs_is_told(tmp_path: Path) -> None:
    claim(tmp_path, training={"epochs": 50, "batch_size": 64})
    with pytest.raises(UserError, match=r"configuration \(training epochs 50\)"):
        claim(tmp_path, training={"epochs": 2, "batch_size": 64})
    with pytest.raises(UserError, match=r"configuration \(own proxy mine None\)"):
        claim(tmp_path, training={"epochs": 50, "batch_size": 64}, own={"proxy mine": "1a"})


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.json.12.tmp").write_text("")
    claim(tmp_path)  # a write that was cut off is nothing
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="is not the configuration of a run"):
        claim(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "notes.json")
    with pytest.raises(UserError, match="is not empty and is no run directory"):
        claim(tmp_path)


def test_json_is_written_the_same_way_for_ever(tmp_path: Path) -> None:
    """Runs are compared byte for byte, and those of earlier versions are read."""
    write_json(tmp_path / "a.json", {"scores": (1.5, math.inf, -math.inf), "arch": "ä|b", "best": None})
    assert (tmp_path / "a.json").read_bytes() == (
        b'{\n "scores": [\n  1.5,\n  "inf",\n  "-inf"\n ],\n "arch": "\\u00e4|b",\n "best": null,\n'
        b' "checksum": "0f3829b2"\n}'
    )
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "a.json", [math.nan])
    assert json.loads((tmp_path / "a.json").read_text())["scores"] == [1.5, "inf", "-inf"]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*missing\.json"):
        read_json(tmp_path / "missing.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"half\.json is damaged .*; delete it to have it computed again"):
        read_json(tmp_path / "half.json")
