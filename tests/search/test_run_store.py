import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zcpt_ray.configs import ImageOptions, SearchConfig, SupernetTraining
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.search.inputs import require_same_data
from zcpt_ray.search.records import Decision, Proposal, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.spaces.costs import Cost

CONFIG = SearchConfig(num_proposals=3, num_validations=12)


def proposal(index: int, arch: str) -> Proposal:
    return Proposal(index, arch, (Decision(0, "e", ("a",), {"a": 1.5, "b": -2.0}),), num_evaluations=2, seconds=1.0)


def filled(directory: Path | None = None) -> RunStore:
    """Three proposals of two candidates; y scores 2 a minibatch, x scores 1."""
    store = RunStore(Search.of(CONFIG), directory)
    for index, arch in enumerate("xyx"):
        store.add([proposal(index, arch)])
    for arch, minibatches in store.missing_slices():
        store.add([Validation(arch, dict.fromkeys(minibatches, (2.0,) if arch == "y" else (1.0,)), seconds=0.5)])
    return store


def test_what_is_missing_shrinks_to_nothing() -> None:
    store = RunStore(Search.of(CONFIG))
    assert store.missing_proposals() == [0, 1, 2]
    assert store.missing_slices() == []
    store.add([proposal(1, "x")])
    assert store.missing_proposals() == [0, 2]
    assert store.missing_slices() == [("x", range(0, 10)), ("x", range(10, 12))]
    assert dataclasses.astuple(store.progress(under_way=5)) == (1, 3, 0, 12, 2 + 5, False)
    assert dataclasses.astuple(filled().progress()) == (3, 3, 24, 24, 6, True)


def test_candidates_are_ranked_by_score_then_by_times_proposed() -> None:
    result = filled().result(9.0, lambda arch: Cost(1, 2))
    assert [(c.arch, c.score, c.times_proposed, c.first_proposal) for c in result.candidates] == [
        ("y", 24, 1, 1),
        ("x", 12, 2, 0),
    ]
    assert result.best is result.candidates[0]
    assert result.num_evaluations == 3 * 2 + 24
    assert result.seconds == {"propose": 3.0, "validate": 2.0, "wall": 9.0}
    store = RunStore(Search.of(dataclasses.replace(CONFIG, num_validations=0)))
    for index, arch in enumerate("yxx"):
        store.add([proposal(index, arch)])
    assert store.result(0.0, lambda arch: Cost(1, 2)).best.arch == "x"


def test_a_run_directory_is_taken_up_again(tmp_path: Path) -> None:
    first = filled(tmp_path / "run")
    again = RunStore(Search.of(CONFIG), tmp_path / "run")
    assert again.proposals == first.proposals
    assert again.validations == first.validations
    assert again.result(1.0, lambda arch: Cost(1, 2)) == first.result(1.0, lambda arch: Cost(1, 2))


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json*")}
    store.add([proposal(0, "z")])
    store.add([Validation("x", dict.fromkeys(range(10), (99.0,)), 0.0)])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json*")} == before
    assert store.result(0.0, lambda arch: Cost(1, 2)).best.arch == "y"


def test_a_result_is_saved_and_loaded(tmp_path: Path) -> None:
    result = filled().result(1.0, lambda arch: Cost(1, 2))
    result.save(tmp_path)
    assert SearchResult.load(tmp_path) == result
    assert pd.read_parquet(tmp_path / "candidates.parquet")["arch"].tolist() == ["y", "x"]
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["best"]["arch"] == "y"
    assert {"config", "candidates", "num_evaluations", "seconds", "benchmark", "versions"} < content.keys()


def test_a_directory_of_another_run_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with pytest.raises(UserError, match=r"another configuration \(seed 0\)"):
        RunStore(Search.of(dataclasses.replace(CONFIG, seed=1)), tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("x")
    with pytest.raises(UserError, match="is no run directory"):
        RunStore(Search.of(CONFIG), tmp_path / "other")
    for path in (tmp_path / "other" / "precious.txt", tmp_path / "other" / "precious.txt" / "run"):
        with pytest.raises(UserError, match="cannot use the run directory"):
            RunStore(Search.of(CONFIG), path)
    (tmp_path / "run" / "config.json").write_text("[]")
    with pytest.raises(UserError, match="is not the configuration of a run"):
        RunStore(Search.of(CONFIG), tmp_path / "run")
    content = Search.of(CONFIG).identity | {"colour": "red"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"another configuration \(colour 'red'\)"):
        RunStore(Search.of(CONFIG), tmp_path / "run")


def test_a_kill_during_the_first_start_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "config.json.17.tmp").write_text("{")
    RunStore(Search.of(CONFIG), tmp_path)
    (tmp_path / "proposals").rmdir()
    RunStore(Search.of(CONFIG), tmp_path)
    assert (tmp_path / "proposals").is_dir()


def test_what_belongs_to_no_proposal_is_left_out(tmp_path: Path) -> None:
    """A deleted proposal came out otherwise the second time, and one has an index beyond N."""
    store = filled(tmp_path)
    store.add([proposal(7, "z")])
    (journal,) = (tmp_path / "proposals").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"index":1,' in lines[2]
    journal.write_bytes(b"".join(lines[:2] + lines[3:]))
    again = RunStore(Search.of(CONFIG), tmp_path)
    assert again.missing_proposals() == [1]
    again.add([proposal(1, "x")])
    progress = again.progress()
    assert (progress.proposals_done, progress.validations_done, progress.validations_total) == (3, 12, 12)
    assert [(c.arch, c.score) for c in again.result(0.0, lambda arch: Cost(1, 2)).candidates] == [("x", 12)]


def test_infinite_scores_are_strict_json(tmp_path: Path) -> None:
    store = RunStore(Search.of(dataclasses.replace(CONFIG, num_proposals=1, num_validations=1)), tmp_path)
    store.add([Proposal(0, "x", (Decision(0, "e", ("a",), {"a": math.inf}),), num_evaluations=1, seconds=0.0)])
    store.add([Validation("x", {0: (-math.inf,)}, 0.0)])
    result = store.result(0.0, lambda arch: Cost(1, 2))
    result.save(tmp_path)
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    assert SearchResult.load(tmp_path) == result
    again = RunStore(Search.of(store.config), tmp_path)
    assert (again.proposals, again.validations) == (store.proposals, store.validations)


def damaged(path: Path) -> Iterator[bytes]:
    """What a journal may hold after a bit was flipped."""
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        yield bytes(flipped)


@pytest.mark.parametrize("folder", ["proposals", "validations"])
def test_a_flipped_bit_is_noticed(folder: str, tmp_path: Path) -> None:
    """Wherever it is: the line is named. Only a line that lost its end at the end of a file counts as half written."""
    filled(tmp_path)
    (journal,) = (tmp_path / folder).iterdir()
    content = journal.read_bytes()
    for flipped in damaged(journal):
        journal.write_bytes(flipped)
        with pytest.raises(UserError, match=rf"{journal.name}, line \d+, is damaged|is of another run"):
            RunStore(Search.of(CONFIG), tmp_path)
    journal.write_bytes(content[:-1])
    assert RunStore(Search.of(CONFIG), tmp_path).progress() != filled().progress()
    journal.write_bytes(content)
    assert RunStore(Search.of(CONFIG), tmp_path).progress() == filled().progress()


def test_a_run_of_another_journal_is_refused(tmp_path: Path) -> None:
    """While one search had stored nothing, another took its folder; what the first then stores is not the other's."""
    first = RunStore(Search.of(CONFIG), tmp_path)
    other = Search.of(dataclasses.replace(CONFIG, seed=7))
    RunStore(other, tmp_path)
    first.add([proposal(0, "x")])
    with pytest.raises(UserError, match="is of another run"):
        RunStore(other, tmp_path)


def test_what_is_removed_under_a_run_is_said(tmp_path: Path) -> None:
    store = RunStore(Search.of(CONFIG), tmp_path)
    store.add([proposal(0, "x")])
    shutil.rmtree(tmp_path / "proposals")
    with pytest.raises(UserError, match="is gone: somebody has removed it, or its folder, while the run went on"):
        store.add([proposal(1, "y")])
    assert 1 not in store.proposals


OLD = {"index": 1, "arch": "y", "decisions": [], "num_evaluations": 2, "seconds": 1.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"index": -5}, "index is -5"),
        ({"index": "1"}, "'1' is no int"),
        ({"index": True}, "True is no int"),
        ({"seconds": "fast"}, "'fast' is no float"),
        ({"colour": "red"}, "Proposal has no colour"),
        ({"arch": ["y"]}, r"\['y'\] is no str"),
        ({"decisions": [{"step": 0, "edge": "e", "kept": "a", "scores": {}}]}, "'a' is no list"),
        ({"decisions": [{"step": 0, "edge": "e", "kept": [], "scores": {"a": "x"}}]}, "could not convert"),
    ],
)
def test_files_of_earlier_versions_are_read(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    """Each proposal and each slice was a JSON file; what does not fit is named."""
    RunStore(Search.of(CONFIG), tmp_path)
    (tmp_path / "proposals/00001.json").write_text(json.dumps(OLD | changes))
    scores = {"arch": "y", "measures": {"0": [2.0], "1": ["-inf"]}, "seconds": 0.5}
    (tmp_path / "validations/abc.json").write_text(json.dumps(scores))
    if said:
        with pytest.raises(UserError, match=rf"00001\.json is damaged .*{said}.* delete it"):
            RunStore(Search.of(CONFIG), tmp_path)
        return
    store = RunStore(Search.of(CONFIG), tmp_path)
    assert store.missing_proposals() == [0, 2]
    assert store.validations["y", 0].measures == {0: (2.0,), 1: (-math.inf,)}
    assert store.missing_slices() == [("y", range(0, 10)), ("y", range(10, 12))]


@pytest.mark.parametrize("content", ["", '{"index": 0', "[]", "[" * 100_000])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    RunStore(Search.of(CONFIG), tmp_path)
    (tmp_path / "proposals" / "00001.json").write_text(content)
    with pytest.raises(UserError, match=r"00001\.json is damaged .* delete it"):
        RunStore(Search.of(CONFIG), tmp_path)


def test_a_changed_result_is_noticed(tmp_path: Path) -> None:
    filled().result(1.0, lambda arch: Cost(1, 2)).save(tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"score": 24', '"score": 25'))
    with pytest.raises(UserError, match=r"result\.json is damaged \(its checksum is not "):
        SearchResult.load(tmp_path)


@pytest.mark.parametrize("shared", [False, True])
def test_ten_thousand_candidates_are_handed_out_once(shared: bool, tmp_path: Path) -> None:
    """A step takes what is new, however much is known: the time of all is linear in their number."""
    config = dataclasses.replace(CONFIG, num_proposals=10_000, num_validations=10)
    store = RunStore(Search.of(config), None if not shared else tmp_path / "run", tmp_path / "all" if shared else None)
    count = 10_000 if not shared else 50
    taken = []
    for index in range(count):
        store.add([proposal(index, f"x{index}")])
        if index % 2:
            taken += store.take_missing_slices()
    assert taken == [(f"x{index}", range(10)) for index in range(count)] == store.missing_slices()
    assert store.take_missing_slices() == []


def test_searches_that_share_scores_see_what_others_add(tmp_path: Path) -> None:
    one, other = (RunStore(Search.of(CONFIG), tmp_path / name, tmp_path / "shared") for name in ("one", "other"))
    for store in (one, other):
        store.add([proposal(0, "x")])
    one.add([Validation("x", dict.fromkeys(range(10), (1.0,)), 0.5)])
    assert other.missing_slices() == [("x", range(10, 12))]
    other.add([Validation("x", dict.fromkeys(range(10, 12), (1.0,)), 0.5)])
    assert one.missing_slices() == []
    assert one.progress() == other.progress()


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*result\.json"):
        SearchResult.load(tmp_path)
    (tmp_path / "result.json").write_text('{"config": {}}')
    with pytest.raises(UserError, match="is no result of this version"):
        SearchResult.load(tmp_path)


def test_a_run_is_named_by_its_whole_configuration() -> None:
    changes = {
        "space": "x",
        "dataset": "x",
        "proxy": "x",
        "scoring": "x",
        "order": "x",
        "lanes": "in-turn",
        "aggregation": "borda",
        "scope": "edge",
        "confidence": 0.95,
        "validation": "race",
        "error": 0.01,
        "validation_proxy": "x",
        "validation_weights": 4,
        "proposal_weights": 4,
        "neighbours": 2,
        "finalists": 2,
        "finalist_epochs": 2,
        "finalist_source": "benchmark",
        "finalist_images": 64,
        "finalist_early_stopping": True,
        "num_proposals": 7,
        "num_validations": 7,
    }
    changes |= {
        "batch_size": 7,
        "seed": 7,
        "device": "cpu",
        "method": "x",
        "evaluations": 7,
        "max_params": 7.0,
        "max_flops": 7.0,
        "max_memory_mb": 7.0,
        "max_file_mb": 7.0,
        "max_latency_ms": 7.0,
        "max_energy_mj": 7.0,
        "target": "raspi4",
    }
    changes |= {"training": SupernetTraining(epochs=7), "images": ImageOptions(image_size=64)}
    elsewhere = {"max", "device_table"}  # the limits once more; what the table holds is among the user's own
    assert set(changes) | elsewhere == {field.name for field in dataclasses.fields(SearchConfig)}
    names = {run_name(dataclasses.replace(SearchConfig(), **{key: value})) for key, value in changes.items()}
    assert len(names | {run_name(SearchConfig())}) == len(changes) + 1


def test_a_run_that_failed_before_it_had_anything_does_not_block_its_directory(tmp_path: Path) -> None:
    RunStore(Search.of(CONFIG), tmp_path)
    other = dataclasses.replace(CONFIG, seed=7)
    assert RunStore(Search.of(other), tmp_path).config == other
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 7


def test_a_directory_serves_every_n_and_v(tmp_path: Path) -> None:
    """Fewer are read from it, more are added to it, and what is counted is what that search alone would have needed."""
    whole = filled(tmp_path).result(0.0, lambda arch: Cost(1, 2))
    fewer = RunStore(Search.of(dataclasses.replace(CONFIG, num_proposals=1, num_validations=4)), tmp_path)
    assert (fewer.missing_proposals(), fewer.missing_slices()) == ([], [])
    found = fewer.result(0.0, lambda arch: Cost(1, 2))
    assert [(c.arch, c.score, c.times_proposed) for c in found.candidates] == [("x", 4, 1)]
    assert (found.num_evaluations, found.seconds["validate"]) == (2 + 4, 0.5 * 4 / 10)
    more = RunStore(Search.of(dataclasses.replace(CONFIG, num_proposals=4, num_validations=15)), tmp_path)
    assert more.missing_proposals() == [3]
    assert more.missing_slices() == [("x", range(10, 15)), ("y", range(10, 15))]
    more.add([Validation("x", dict.fromkeys(range(10, 15), (1.0,)), 0.5)])
    assert RunStore(Search.of(more.config), tmp_path).missing_slices() == [("y", range(10, 15))]
    again = RunStore(Search.of(CONFIG), tmp_path)
    assert again.result(0.0, lambda arch: Cost(1, 2)).candidates == whole.candidates
    again.add([Validation("x", dict.fromkeys(range(10, 12), (99.0,)), 0.0)])  # shorter than what is there
    assert len(RunStore(Search.of(more.config), tmp_path).validations["x", 10].measures) == 5


def test_a_folder_is_not_taken_from_a_search_that_is_at_work(tmp_path: Path) -> None:
    """Though that has stored nothing yet; once it has ended, the folder is free."""
    one, other = Search.of(CONFIG), Search.of(dataclasses.replace(CONFIG, seed=7))
    with RunStore(one, tmp_path).at_work():
        with pytest.raises(UserError, match="is in use by another run"):
            RunStore(other, tmp_path)
        more = Search.of(dataclasses.replace(CONFIG, num_proposals=9))
        with RunStore(more, tmp_path).at_work():
            pass
    assert RunStore(other, tmp_path).config.seed == 7


def test_other_images_are_refused(tmp_path: Path, images: ImageSet, caplog: pytest.LogCaptureFixture) -> None:
    store, shared = RunStore(Search.of(CONFIG), tmp_path / "run", tmp_path / "all"), tmp_path / "all"
    assert len(store.folders) == 2
    require_same_data(store.folders, CONFIG, images)
    require_same_data(store.folders, CONFIG, dataclasses.replace(images))
    assert RunStore(Search.of(CONFIG), tmp_path / "run", shared).missing_proposals() == [0, 1, 2]
    changed = images.images.copy()
    changed[3, 0, 0, 0] ^= 1
    for other, told in (
        (dataclasses.replace(images, images=changed), "now 40 images of .* in 3 classes, other ones"),
        (images.part(np.arange(39)), "once 40 images of .*, now 39 images"),
        (dataclasses.replace(images, num_classes=4), "now 40 images of .* in 4 classes"),
        (dataclasses.replace(images, labels=images.labels[::-1]), "other ones"),
    ):
        with pytest.raises(UserError, match=rf"holds results on other images of digits: .*{told}.*; choose another"):
            require_same_data(store.folders, CONFIG, other)
    about = json.loads((tmp_path / "run/data.json").read_text())
    del about["checksum"]
    (tmp_path / "run/data.json").write_text(json.dumps(about | {"versions": {"torch": "1.0"}, "device": "cuda"}))
    with caplog.at_level("WARNING"):
        require_same_data(store.folders, CONFIG, images)
    assert "was begun with device cuda and goes on with cpu: scores may differ" in caplog.text
    assert "was begun with versions {'torch': '1.0'} and goes on with" in caplog.text
