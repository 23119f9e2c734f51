"""What is found below folders, and what is said of what is damaged."""

import dataclasses
import json
from pathlib import Path

import pytest
from report_runs import grid_row, save_grid, save_search, save_training

from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.reports.html_report import report_page
from zcpt_ray.reports.run_folders import find_runs, read_grid, search_directories
from zcpt_ray.storage.paths import any_path
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.records import TrainResult


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


def test_trainings_of_several_commands_in_one_folder_stay_apart(tmp_path: Path) -> None:
    """By how they were trained; more seeds of the same belong together.

    A network that two searches found is in both their rows. Seed 9 is not finished.
    """
    base = TrainConfig("arch", "darts", "cifar10")
    configs = [dataclasses.replace(base, epochs=epochs, seed=seed) for epochs, seed in ((2, 0), (2, 1), (3, 0), (2, 2))]
    for config in configs:
        save_training(tmp_path / "trials" / run_name(config), config, [50.0, 40.0, 6.0][-(config.epochs or 0) :])
    configs.append(dataclasses.replace(base, epochs=2, seed=9))
    rows = [grid_row(name, config) for name in ("seed 0", "seed 1") for config in configs]
    (tmp_path / "grid.json").write_text(json.dumps({"trials": [row.to_dict() for row in rows]}))
    runs = find_runs([tmp_path])
    assert {name: len(trained) for name, trained in runs.trainings.items()} == {
        f"{tmp_path}: epochs 2": 6,
        f"{tmp_path}: epochs 3": 2,
    }
    assert runs.trials == {f"{tmp_path}: epochs 2": 4, f"{tmp_path}: epochs 3": 1}
    page = report_page(runs)
    assert ">3/4<" in page
    assert page.count("By architecture, over training seeds</h") == 2


def test_a_row_of_a_grid_is_read_as_it_was_written(tmp_path: Path) -> None:
    search = save_search(tmp_path / "search", 0, 5.0)
    rows = [grid_row("found", TrainConfig("a", seed=1), search), grid_row("given", TrainConfig("b"))]
    (tmp_path / "grid.json").write_text(json.dumps({"trials": [row.to_dict() for row in rows]}))
    assert read_grid(tmp_path) == rows


def test_runs_of_other_code_of_ones_own_are_told_apart(tmp_path: Path) -> None:
    config = TrainConfig("a", "mine")
    for name, content in (("first", "1a"), ("second", "2b")):
        save_training(tmp_path / name, config, [9.0])
        found = TrainResult.load(tmp_path / name)
        dataclasses.replace(found, own={"space mine": content}).save(tmp_path / name)
        result = save_search(tmp_path / "searches" / name, 0, 5.0)
        dataclasses.replace(result, own={"proxy mine": content}).save(tmp_path / "searches" / name)
    runs = find_runs([tmp_path])
    assert sorted(problem.partition(":")[0] for problem in runs.problems) == [
        f"{tmp_path}/searches/second is left out",
        f"{tmp_path}/second is left out",
    ]
    assert [len(found) for found in (*runs.trainings.values(), *runs.searches.values())] == [1, 1]


def test_a_training_in_a_space_of_ones_own_has_the_name_of_its_row(tmp_path: Path) -> None:
    """Its folder is named after the space's content too, which its configuration does not hold."""
    config = TrainConfig("a", "mine")
    save_training(tmp_path / "trials" / "1a2b", config, [9.0])
    row = dataclasses.replace(grid_row("found", config), run_id="1a2b")
    (tmp_path / "grid.json").write_text(json.dumps({"trials": [row.to_dict()]}))
    (trained,) = find_runs([tmp_path]).trainings.values()
    assert [each.name for each in trained] == ["found"]


def test_trainings_of_a_damaged_grid_go_by_their_folders(tmp_path: Path) -> None:
    save_grid(tmp_path)
    (tmp_path / "grid.json").write_text('{"trials": [{"arch_name": "a"}]}')
    runs = find_runs([tmp_path])
    assert runs.problems == [
        f"{tmp_path}/grid.json is damaged (KeyError('search')): its trainings go by the names of their folders"
    ]
    (trained,) = runs.trainings.values()
    assert sorted(each.name for each in trained) == sorted(path.name for path in (tmp_path / "trials").iterdir())


def test_a_training_of_no_grid_lies_in_its_folder(tmp_path: Path) -> None:
    save_training(tmp_path / "mine", TrainConfig("a"), [9.0, 8.0])
    runs = find_runs([tmp_path])
    assert {place: [each.name for each in trained] for place, trained in runs.trainings.items()} == {
        str(tmp_path): ["mine"]
    }
    assert runs.trials == {}


def test_directories_of_searches(tmp_path: Path) -> None:
    """What lies inside a search is no search; a folder that is not there has none."""
    save_search(tmp_path / "a", 0, 5.0)
    save_search(tmp_path / "b/cells/c", 1, 5.0)
    save_search(tmp_path / "a/proposals/d", 2, 5.0)
    assert list(search_directories(tmp_path)) == [tmp_path / "a", tmp_path / "b/cells/c"]
    assert list(search_directories(tmp_path / "none")) == []


def test_damage_of_everything_ends_with_all_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("?")
    with pytest.raises(UserError, match=r"a/result\.json .*b/result\.json "):
        find_runs([tmp_path])


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    """Each folder is looked into once, whatever links lead to it."""
    save_search(tmp_path / "a/run", 0, 5.0)
    (tmp_path / "b").mkdir()
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b/across").symlink_to(tmp_path / "a")
    (tmp_path / "a/itself").symlink_to("itself")
    found = find_runs([tmp_path])
    assert [len(searches) for searches in found.searches.values()] == [1]
    assert len(list(search_directories(tmp_path))) == 1
