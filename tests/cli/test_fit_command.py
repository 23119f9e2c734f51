"""`zcpt fit`, `zcpt profile` and `zcpt budgets`: what they choose, what they leave, what they refuse."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Zcpt, cells
from image_files import write_image

import zcpt_ray as zc
from zcpt_ray.benchmarks.latencies import read_profile
from zcpt_ray.errors import UserError
from zcpt_ray.experiments import fit_choices
from zcpt_ray.experiments.fit_choices import choose, fitting_epochs, fitting_networks
from zcpt_ray.experiments.fitting import delivered, verdict
from zcpt_ray.fit_config import FitConfig
from zcpt_ray.spaces import SPACES
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import TrainResult

NETWORKS = 7


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """Three folders of images of different sizes, of which the network is to see 200 pixels."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog", "owl"):
        for number in range(20):
            size = (3, 200, 220 + number) if number % 2 else (3, 240 + number, 200)
            write_image(tmp_path / "photos" / label / f"{number}.png", random.integers(0, 256, size, dtype=np.uint8))
    return str(tmp_path / "photos")


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that trains 64 x 64 pixels at 100 images a second, and others by their number."""
    speed = lambda plan, num_classes, shape: 100 * (64 / shape[-1]) ** 2  # noqa: E731
    monkeypatch.setattr(fit_choices, "images_per_second", speed)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> zc.FitConfig:
    return FitConfig(
        num_proposals=1,
        num_validations=1,
        epochs=2,
        batch_size=16,
        max_images=64,
        alone=True,
        max=("params_m=0.3", "memory_mb=1"),
    )


def test_fit_as_small_as_it_goes(zcpt: Zcpt, tmp_path: Path) -> None:
    """All networks; a second call does nothing again."""
    ended = zcpt("fit", "--smoke", "--out", "out", "--max", "params_m=0.5")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert "limits: at most 0.5 M params" in lines
    named = cells(ended.out, "network")
    known = ["resnet18-quarter-cifar", "mobilenetv2-half-cifar"]
    assert sorted(named) == sorted(["found", "max-params", "random 0", "random 1", "random 2", *known])
    table = pd.read_parquet("out/comparison.parquet").set_index("network")
    assert (table["epochs"] == 1).all()
    assert table.loc["found", "params [M]"] <= 0.5
    assert table["keeps the limits"].to_dict() == {name: "no" if name in known else "yes" for name in table.index}
    result = {folder.name: TrainResult.load(folder) for folder in Path("out/training/trials").iterdir()}
    assert len(result) <= NETWORKS
    model = zc.load_model("out")
    assert model.info.metrics["latency_ms"] > 0
    kept = table[table["keeps the limits"] == "yes"]
    best = kept.index[kept["validation error [%]"] == kept["validation error [%]"].min()]
    name = "found" if "found" in best else min(best)
    assert model.info.metrics["top1_error"] == table.loc[name, "test error [%]"]
    assert model.info.params == pytest.approx(1e6 * table.loc[name, "params [M]"])
    for name in (
        "model.pt",
        "model.py",
        "weights.pt",
        "report.html",
        "choices.json",
        "comparison.md",
        "comparison.png",
    ):
        assert (Path("out") / name).exists(), name
    assert lines[-1] == "Next: zcpt predict out IMAGES..."
    trained = sorted(map(str, Path("out/training").rglob("*")))
    again = zcpt("fit", "--smoke", "--out", "out", "--max", "params_m=0.5")
    assert again.code == 0
    assert "epoch 1 of 1" not in again.err
    assert sorted(map(str, Path("out/training").rglob("*"))) == trained
    other = zcpt("fit", "--smoke", "--out", "out")
    assert (other.code, other.err.count("holds a run with another configuration (max")) == (2, 1)


def test_fit_in_python(fitted: FitConfig, tmp_path: Path) -> None:
    given = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}
    found = zc.fit("digits", out=tmp_path / "fit", **{**given, "dataset": "digits"})
    assert found.verdict == ""
    for name in ("model.py", "comparison.csv", "report.html"):  # as the command leaves
        assert (tmp_path / "fit" / name).exists(), name
    assert found.comparison["network"].tolist() == ["found"]
    assert found.comparison["keeps the limits"].tolist() == ["yes"]
    assert {"memory [MB]"} <= set(found.comparison)
    assert found.model.info.params <= 300_000
    assert len(found.model.predict(np.zeros((9, 9, 3), np.uint8))) == 1
    with pytest.raises(UserError, match="fit takes no colour"):
        zc.fit("digits", colour="red")


def test_what_is_chosen_for_small_images(pace: None) -> None:
    """Digits are of 32 pixels and 1,438: nothing else than the space and the batch size has to be chosen."""
    choices = choose(FitConfig(minutes=10), NETWORKS)
    training = choices.training
    assert (training.space, training.batch_size, training.recipe) == ("photos-small", 64, "small-data")
    assert choices.training.images.image_size is None
    assert choices.search.space == "photos-small"
    assert [line.partition(":")[0] for line in choices.said] == [
        "batch size 64",
        "space photos-small, which is for images of this size",
    ]


@pytest.mark.parametrize(("minutes", "size"), [(1e6, 192), (4, 96), (0.01, 64)])
def test_what_is_chosen_for_photos(minutes: float, size: int, photos: str, pace: None) -> None:
    """48 training images, 7 networks and 15 epochs in 70 % of the time, at 100 images/s for 64 pixels.

    In 4 minutes that is up to 116 pixels.
    """
    choices = choose(FitConfig(dataset=photos, minutes=minutes), NETWORKS)
    assert choices.training.space == choices.search.space == "photos"
    assert choices.training.images.image_size == choices.search.images.image_size == size
    assert choices.training.batch_size == 4
    assert choices.training.validation_share == 0.1


def test_few_test_images_are_named(photos: str, zcpt: Zcpt) -> None:
    few = ("--alone", "--epochs", "1", "--image-size", "32", "--num-proposals", "1", "--num-validations", "1")
    ended = zcpt("fit", photos, "--out", "out", *few, "--max-images", "20")
    assert ended.code == 0, ended.err
    assert "only 12 test images: errors that differ by less than 29 points say nothing" in ended.out


def test_given_choices_stay(photos: str, pace: None) -> None:
    images = zc.ImageOptions(image_size=48)
    config = FitConfig(dataset=photos, images=images, space="mobilenet", batch_size=12, recipe="nb201", epochs=3)
    choices = choose(config, NETWORKS)
    assert choices.said == ()
    plan = TrainPlan.of(dataclasses.replace(choices.training, arch=arch_of("mobilenet")))
    training, said = fitting_epochs(config, [plan], plan.dataset.load("train"), 10)
    assert (training.epochs, training.recipe, training.batch_size, said) == (3, "nb201", 12, ())


def arch_of(space: str) -> str:
    return SPACES[space].encode(SPACES[space].arch(0))


@pytest.mark.parametrize(("seconds", "epochs", "images"), [(1e6, 100, 0), (700, 12, 0), (100, 5, 501)])
def test_epochs_that_fit(seconds: float, epochs: int, images: int, pace: None) -> None:
    """1,438 digits of 32 pixels at 400 images/s take 3.6 s, and as much again for each network; tests a tenth."""
    config = FitConfig(validation_share=0.0)
    choices = choose(config, 14)
    plan = TrainPlan.of(dataclasses.replace(choices.training, arch=arch_of("photos-small")))
    training, said = fitting_epochs(config, [plan] * 14, plan.dataset.load("train"), seconds)
    assert training.epochs == epochs
    one_epoch = 14 * 1438 / 400 * 1.1
    assert epochs == min(max(int(seconds / one_epoch), 5), 100)
    assert training.max_images == (int(1438 * seconds / (one_epoch * 5)) if images else 0)
    assert said[-2 if epochs < 101 else -1].startswith(f"{epochs} epochs, which fit the time")


def test_networks_are_left_out_before_images(pace: None) -> None:
    """1,438 digits at 400 images/s: five epochs of a network and its tests take 19.8 s."""
    plan = TrainPlan.of(dataclasses.replace(choose(FitConfig(), 3).training, arch=arch_of("photos-small")))
    plan = dataclasses.replace(plan, config=dataclasses.replace(plan.config, validation_share=0.0))
    images, names = plan.dataset.load("train"), ["found", "max-params", "random 0"]
    five_epochs = 5 * 1438 * 1.1 / 400
    for seconds, fitting in ((1, 1), (five_epochs, 1), (2 * five_epochs, 2), (1e6, 3)):
        assert list(fitting_networks(dict.fromkeys(names, plan), images, seconds)) == names[:fitting]


def test_many_steps_take_sgd(pace: None) -> None:
    config = FitConfig(validation_share=0.0, batch_size=2, epochs=100)
    plan = TrainPlan.of(dataclasses.replace(choose(config, 1).training, arch=arch_of("photos-small")))
    assert fitting_epochs(config, [plan], plan.dataset.load("train"), 1e6)[0].recipe == "small-data-sgd"


@pytest.mark.parametrize(
    ("found", "largest", "says"),
    [
        (10.0, 10.5, "parameters alone pick as well"),
        (14.0, 10.0, "parameters alone pick better here"),
        (10.0, 14.0, "the search found more than parameters alone"),
    ],
)
def test_the_verdict(found: float, largest: float, says: str) -> None:
    errors = {"found": found, "max-params": largest, "random 0": 20.0, "random 1": 22.0}
    rows = [{"network": name, "test error [%]": error, "standard error": 1.0} for name, error in errors.items()]
    line = verdict(pd.DataFrame(rows))
    assert line.startswith(says)
    assert "random 21.00 % on average" in line
    assert verdict(pd.DataFrame(rows[:1])) == ""
    assert "random" not in verdict(pd.DataFrame(rows[:2]))


def test_the_best_within_the_limits_is_delivered() -> None:
    """By validation images; tests decide nothing."""
    table = pd.DataFrame(
        {
            "network": ["found", "max-params", "random 0", "resnet18-quarter"],
            "test error [%]": [30.0, 29.0, 10.0, 5.0],
            "validation error [%]": [31.0, 28.0, 33.0, 4.0],
            "keeps the limits": ["yes", "yes", "yes", "no"],
        }
    )
    assert delivered(table) == "max-params"
    assert delivered(table.drop(columns="keeps the limits")) == "resnet18-quarter"
    table["validation error [%]"] = [28.0, 28.0, 28.0, 28.0]  # though it has more test errors than the others
    assert delivered(table) == "found"
    assert delivered(table[1:]) == "max-params"
    table["validation error [%]"] = None
    assert delivered(table) == "found"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--minutes", "0"), "minutes must be above 0, got 0"),
        (("--max", "watts=3"), "it knows no 'watts'"),
        (("--max-params", "0.0001"), "nothing in 'photos-small' fits the budget: the smallest network has 0.10"),
        (("--space", "photo"), "unknown space 'photo'"),
        (("--dataset", "digits"), "--dataset is not used here: it comes first: zcpt fit DATA"),
    ],
)
def test_what_fit_refuses(flags: tuple[str, ...], message: str, zcpt: Zcpt, tmp_path: Path) -> None:
    ended = zcpt("fit", "digits", "--out", "out", "--epochs", "1", "--alone", *flags)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()[-1]) < 600


def test_a_profile_from_the_command_line(zcpt: Zcpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zcpt_ray.engine.timing.MOST_ROUNDS", 2)
    monkeypatch.setattr("zcpt_ray.engine.timing.FEWEST_ROUNDS", 2)
    ended = zcpt("profile", "--space", "toy-chain-2", "--image-size", "16", "--out", "p.parquet")
    assert ended.code == 0, ended.err
    assert "(the rest)" in cells(ended.out, "edge")
    assert "predictions of 50 other networks miss by" in ended.out
    about = read_profile(Path("p.parquet")).about
    assert (about["image_shape"], about["threads"], about["space"]) == ([3, 16, 16], 1, "toy-chain-2")
    limit = ("--max-latency-ms", "1000", "--device-table", "p.parquet")
    searched = zcpt("search", "--local", "--smoke", "--space", "toy-chain-2", "--out", "run", *limit)
    assert searched.code == 0, searched.err
    assert {"latency [ms]", "measured latency [ms]"} <= set(pd.read_parquet("run/pareto.parquet"))
    best = json.loads(Path("run/result.json").read_text())["best"]["resources"]
    assert set(best) == {"latency_ms", "measured_latency_ms"}
    refused = zcpt("profile", "--image-size", "4")
    assert (refused.code, "--image-size must be at least 8" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--targets", "raspi5"), "unknown device 'raspi5'; choose from edgegpu, raspi4"),
        (("--max-latency-ms", "3"), "--max-latency-ms is not used here: the limits follow from --share"),
    ],
)
def test_what_budgets_refuses(flags: tuple[str, ...], message: str, zcpt: Zcpt) -> None:
    ended = zcpt("budgets", *flags)
    assert (ended.code, message in ended.err) == (2, True), ended.err
