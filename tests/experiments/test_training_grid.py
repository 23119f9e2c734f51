"""Trainings as trials: which there are, what becomes of them when processes die. Every kill here is a real SIGKILL."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import ray

from zcpt_ray.configs import ImageOptions, SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import search_cells
from zcpt_ray.experiments.grids import Metrics, Trial, run_grid_locally
from zcpt_ray.experiments.training_grid import by_fitting_recipe, found_by, on_data_of, trainings, write_grid
from zcpt_ray.experiments.training_trial import train_and_report, training_directory
from zcpt_ray.identity import run_name
from zcpt_ray.reports.run_folders import read_grid
from zcpt_ray.search.resolved import Search
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.recipes import RECIPES
from zcpt_ray.training.records import EpochMetrics, TrainResult
from zcpt_ray.training.trainer import train

JOB = Path(__file__).parents[2] / "jobs" / "train.py"
ARCH = "nor_conv_1x1>nor_conv_3x3"
CONFIG = TrainConfig(ARCH, "toy-chain-2", "digits", "nb201", epochs=4, batch_size=16, max_images=64, device="cpu")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


SMALL_SEARCH = SearchConfig(space="toy-chain-1", batch_size=8, num_proposals=1, num_validations=1)


def without_times(history: tuple[EpochMetrics, ...]) -> list[EpochMetrics]:
    return [dataclasses.replace(metrics, seconds=0, images_per_second=0) for metrics in history]


def trials(*configs: TrainConfig) -> list[Trial]:
    return [Trial(run_name(config), TrainPlan.of(config), {"seed": config.seed}) for config in configs]


def test_searches_and_given_architectures_times_seeds(tmp_path: Path) -> None:
    search = SearchConfig(space="toy-chain-3", batch_size=8, num_proposals=1, num_validations=1)
    for seed in (0, 1):
        list(search_cells([Search.of(dataclasses.replace(search, seed=seed))], tmp_path / "ablation"))
    (of_tune := tmp_path / "ablation" / "tune" / "trial").mkdir(parents=True)
    (of_tune / "params.json").write_text("{}")
    (of_tune / "result.json").write_text('{"fraction": 0.5}\n{"fraction": 1}\n')
    found = found_by([tmp_path / "ablation"])
    assert list(found) == ["seed 0", "seed 1"]
    grid = trainings(dataclasses.replace(CONFIG, arch=""), (5, 6), found, {"given": ARCH})
    assert [(t.arch_name, t.config.space, t.config.seed) for t in grid] == [
        *(("seed 0", "toy-chain-3", seed) for seed in (5, 6)),
        *(("seed 1", "toy-chain-3", seed) for seed in (5, 6)),
        *(("given", "toy-chain-2", seed) for seed in (5, 6)),
    ]
    assert grid[0].config.arch == found["seed 0"].best.arch
    write_grid(grid, tmp_path)
    rows = json.loads((tmp_path / "grid.json").read_text())["trials"]
    assert [row["run_id"] for row in rows] == [t.name for t in grid]
    assert read_grid(tmp_path)[0].search == dataclasses.replace(found["seed 0"], candidates=())
    with pytest.raises(UserError, match=r"no result.json in or below .*nowhere"):
        found_by([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="--seeds has a value twice: 0, 0"):
        trainings(CONFIG, (0, 0), {}, {"given": ARCH})
    with pytest.raises(UserError, match="nothing to train"):
        trainings(CONFIG, (), {}, {"given": ARCH})
    with pytest.raises(UserError, match="not a toy-chain-2 architecture"):
        trainings(CONFIG, (0,), {}, {"given": "nonsense"})


def test_trainings_take_the_images_of_their_searches(tmp_path: Path) -> None:
    images = ImageOptions(image_size=16, flip=True)
    configs = [dataclasses.replace(SMALL_SEARCH, images=options) for options in (ImageOptions(), images)]
    for number, config in enumerate(configs):
        list(search_cells([Search.of(config)], tmp_path / str(number)))
    one, other = (found_by([tmp_path / str(number)]) for number in range(2))
    base = TrainConfig(arch="", dataset="cifar10")
    assert (on_data_of(base, one).dataset, on_data_of(base, one).images) == ("digits", ImageOptions())
    assert on_data_of(base, other).images == images
    both = {"one": next(iter(one.values())), "other": next(iter(other.values()))}
    with pytest.raises(UserError, match=r"these searches were on different images \(digits\): say --dataset"):
        on_data_of(base, both)


@pytest.mark.parametrize(
    ("spaces", "dataset", "recipe"),
    [
        (["nasbench201"], "cifar10", "nb201"),
        (["darts", "darts-s1"], "cifar10", "cifar"),
        (["darts"], "imagenet", "imagenet-darts"),
        (["mobilenet"], "imagenet", "imagenet-mobilenet"),
        (["mobilenet"], "photos", "cifar"),
        (["darts", "nasbench201"], "cifar10", "cifar-subspaces"),  # as it was: there is not one for both
    ],
)
def test_the_recipe_fits_what_was_searched(spaces: list[str], dataset: str, recipe: str, tmp_path: Path) -> None:
    list(search_cells([Search.of(SMALL_SEARCH)], tmp_path))
    (searched,) = found_by([tmp_path]).values()
    found = {
        space: dataclasses.replace(searched, config=dataclasses.replace(searched.config, space=space))
        for space in spaces
    }
    base = TrainConfig(arch="", dataset=dataset, recipe="cifar-subspaces")
    assert by_fitting_recipe(base, found).recipe == recipe


def test_a_training_that_diverges_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "hot", dataclasses.replace(RECIPES["nb201"], name="hot", learning_rate=1e20))
    hot = dataclasses.replace(CONFIG, recipe="hot")
    outcome = run_grid_locally(trials(hot, CONFIG), train_and_report, tmp_path)
    (why,) = outcome.failures.values()
    assert why.startswith("training diverged in epoch 1: loss ")
    assert outcome.metrics[run_name(CONFIG)]["epoch"] == 4
    assert not (training_directory(tmp_path, TrainPlan.of(hot)) / "training.json").exists()


def dying(plan: TrainPlan, out: AnyPath, emit: Callable[[Metrics], object]) -> None:
    """Training whose process is killed once, in the middle of its third epoch."""
    first = not (training_directory(out, plan) / "checkpoint.pt").exists()

    def watched(row: Metrics) -> None:
        emit(row)
        if first and row["epoch"] == 2:
            threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            time.sleep(0.01)

    train_and_report(plan, out, watched)


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_killed_worker_costs_the_epoch_it_was_in(cluster: int, tmp_path: Path) -> None:
    from zcpt_ray.distributed.grids import GridOptions, run_grid

    config = dataclasses.replace(CONFIG, max_images=0)
    outcome = run_grid(trials(config), dying, tmp_path, GridOptions(device="cpu"))
    assert outcome.failures == {}
    found = TrainResult.load(training_directory(tmp_path, TrainPlan.of(config)))
    assert [metrics.epoch for metrics in found.history] == [0, 1, 2, 3]
    assert (
        len((tmp_path / "tune" / run_name(config) / "result.json").read_text().splitlines()) == 2 + 4
    )  # two of them replayed
    assert without_times(found.history) == without_times(tuple(train(TrainPlan.of(config))))


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_killed_driver_goes_on_with_the_same_command(tmp_path: Path) -> None:
    out, epochs = tmp_path / "out", 12
    flags = {
        "space": "toy-chain-2",
        "dataset": "digits",
        "recipe": "nb201",
        "batch-size": 16,
        "epochs": epochs,
        "max-images": 400,
    }
    command = [sys.executable, str(JOB), "--arch", ARCH, "--out", str(out), "--seeds", "0", "1", "2"]
    command += [str(part) for name, value in flags.items() for part in (f"--{name}", value)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not list(out.glob("trials/*/training.json")) and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    time.sleep(5)  # what it had started ends with it
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/training.json")}
    assert 1 <= len(kept) < 3
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    results = [TrainResult.load(path.parent) for path in out.glob("trials/*/training.json")]
    assert sorted(result.config.seed for result in results) == [0, 1, 2]
    for result in results:
        assert len(result.history) == epochs
    assert without_times(results[0].history) == without_times(tuple(train(TrainPlan.of(results[0].config))))
    (row,) = pd.read_parquet(out / "trainings.parquet").to_dict("records")
    assert (row["trained"], row["trainings"], row["epochs"]) == ("given", 3, str(epochs))
