"""Training: what it computes, and that it can be stopped at any epoch without a trace."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from epoch_rows import timeless
from image_files import encoded

from zcpt_ray.datasets import DATASETS, Dataset, RawImages, image_folder
from zcpt_ray.engine.ops import Noise
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.darts.cell import DartsCell
from zcpt_ray.spaces.darts.network import EvaluationNetwork
from zcpt_ray.storage.paths import any_path
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.image_feed import Feed, WorkerPart
from zcpt_ray.training.plan import TrainPlan, compile_options
from zcpt_ray.training.recipes import RECIPES
from zcpt_ray.training.records import EpochMetrics, TrainResult
from zcpt_ray.training.trainer import Trainer, train

TOY = TrainConfig(
    "nor_conv_3x3>skip_connect", space="toy-chain-2", dataset="digits", recipe="nb201", epochs=3, batch_size=16
)
TOY = dataclasses.replace(TOY, max_images=40)
GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_5x5', 0), ('skip_connect', 1),"
    " ('dil_conv_3x3', 0), ('avg_pool_3x3', 2), ('skip_connect', 0), ('dil_conv_5x5', 2)], normal_concat=range(2, 6),"
    " reduce=[('max_pool_3x3', 0), ('avg_pool_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 2), ('dil_conv_3x3', 1),"
    " ('skip_connect', 2), ('skip_connect', 2), ('sep_conv_5x5', 1)], reduce_concat=range(2, 6))"
)
DARTS = dataclasses.replace(TOY, arch=GENOTYPE, space="darts", recipe="cifar", channels=4, num_cells=4)


def run(config: TrainConfig, directory: Path | None = None) -> list[EpochMetrics]:
    return timeless(list(train(TrainPlan.of(config), directory)))


def weights(directory: Path) -> dict[str, torch.Tensor]:
    state = torch.load(directory / "checkpoint.pt", weights_only=True)
    momenta = {f"momentum {key}": value["momentum_buffer"] for key, value in state["optimizer"]["state"].items()}
    return state["network"] | momenta


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set that can be learnt at a glance: images of class c are bright in channel c."""

    def read(folder: Path, split: str) -> RawImages:
        random = np.random.default_rng(split == "test")
        labels = random.integers(0, 3, 60)
        pixels = random.integers(0, 32, (60, 3, 32, 32)).astype(np.uint8)
        pixels[np.arange(60), labels] += 200
        return RawImages(pixels, labels)

    monkeypatch.setitem(DATASETS, "colours", Dataset("colours", 3, (0.4,) * 3, (0.3,) * 3, flip=True, read=read))
    return "colours"


def test_it_learns_and_says_how(colours: str, tmp_path: Path) -> None:
    config = dataclasses.replace(TOY, dataset=colours, epochs=6, max_images=0)
    rows = list(train(TrainPlan.of(config), tmp_path / "run"))
    assert [row.epoch for row in rows] == list(range(6))
    assert [row.learning_rate for row in rows] == pytest.approx(
        [0.1 * RECIPES["nb201"].schedule(e, 6) for e in range(6)]
    )
    assert rows[-1].top1_error < 5 < rows[0].train_error
    assert rows[-1].train_loss < rows[0].train_loss
    assert {row.top5_error for row in rows} == {None}  # there are three classes
    assert all(row.images_per_second > 0 and row.seconds > 0 for row in rows)
    result = TrainResult.load(tmp_path / "run")
    assert (result.history, result.config, result.device) == (tuple(rows), config, "cpu")
    network = SPACES["toy-chain-2"].network(SPACES["toy-chain-2"].decode(config.arch), 3, seed=0)
    assert result.params == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("config", [TOY, DARTS], ids=["toy", "darts"])
def test_a_stopped_training_ends_as_one_that_never_stopped(config: TrainConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole = run(config, tmp_path / "whole")
    for _ in range(2):
        epochs = train(TrainPlan.of(config), tmp_path / "stopped")
        torch.rand(3)  # what the caller draws in between is of no account
        next(epochs)
        epochs.close()
    epochs = train(TrainPlan.of(config), tmp_path / "stopped")
    assert timeless([next(epochs), next(epochs)]) == whole[:2]
    epochs.close()
    assert not (tmp_path / "stopped" / "training.json").exists()
    assert run(config, tmp_path / "stopped") == whole
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    torch.manual_seed(1)
    assert torch.equal(before, torch.get_rng_state())


def test_seeds(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first, again = run(DARTS, tmp_path / "first"), run(DARTS)
    other = run(dataclasses.replace(DARTS, seed=1), tmp_path / "other")
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert first[0].train_loss != other[0].train_loss
    assert not equal(weights(tmp_path / "first"), weights(tmp_path / "other"))


def test_a_finished_training_is_replayed_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(train(TrainPlan.of(TOY), tmp_path))
    monkeypatch.setattr(Dataset, "load", lambda *_: pytest.fail("data was read"))
    assert list(train(TrainPlan.of(dataclasses.replace(TOY, loader_workers=0)), tmp_path)) == whole
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(UserError, match=r"training.json is damaged .*delete it"):
        list(train(TrainPlan.of(TOY), tmp_path))


def test_whoever_hears_of_the_last_epoch_may_stop_it(tmp_path: Path) -> None:
    """As early stopping does; and one that was killed right after its last checkpoint gets its result later."""
    epochs = train(TrainPlan.of(TOY), tmp_path)
    told = [next(epochs) for _ in range(TOY.epochs)]
    epochs.close()
    assert list(TrainResult.load(tmp_path).history) == told
    network = weights(tmp_path)
    for name in ("training.json", "model.pt"):
        (tmp_path / name).unlink()
    first = train(TrainPlan.of(TOY), tmp_path)
    next(first)
    first.close()
    assert list(TrainResult.load(tmp_path).history) == told
    assert equal(weights(tmp_path), network)
    assert (tmp_path / "model.pt").exists()


def test_a_run_behind_a_uri(tmp_path: Path) -> None:
    place = any_path(f"file://{tmp_path}/run")
    next(train(TrainPlan.of(TOY), place))
    assert timeless(list(train(TrainPlan.of(TOY), place))) == run(TOY)
    assert TrainResult.load(place).config == TOY


def test_directories_that_are_refused(tmp_path: Path) -> None:
    next(train(TrainPlan.of(TOY), tmp_path / "run"))
    with pytest.raises(UserError, match=r"holds a run with another configuration \(seed 0\); choose another --out"):
        train(TrainPlan.of(dataclasses.replace(TOY, seed=1)), tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(UserError, match="is not empty and is no run directory"):
        train(TrainPlan.of(TOY), tmp_path / "mine")
    with pytest.raises(UserError, match="cannot use the run directory"):
        train(TrainPlan.of(TOY), tmp_path / "mine" / "letter.txt" / "run")
    train(TrainPlan.of(TOY), tmp_path / "fresh")
    train(TrainPlan.of(dataclasses.replace(TOY, seed=1)), tmp_path / "fresh")  # nothing was computed there


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    next(train(TrainPlan.of(TOY), tmp_path))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        UserError, match=r"^.*checkpoint.pt is damaged \(.*\); delete it to have the training start again$"
    ):
        next(train(TrainPlan.of(TOY), tmp_path))


def test_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steep = dataclasses.replace(RECIPES["nb201"], schedule=lambda done, epochs: 1e30 if done else 0.1)
    monkeypatch.setitem(RECIPES, "nb201", steep)
    epochs = train(TrainPlan.of(TOY), tmp_path)
    next(epochs)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match="training diverged in epoch 2: loss nan; try a lower learning rate"):
        next(epochs)
    assert (tmp_path / "checkpoint.pt").read_bytes() == content


DARTS_SPACES = [name for name in SPACES if name.startswith("darts") and not name.endswith("-small")]


@pytest.mark.parametrize(
    "name", ["nasbench201", "nasbench-macro", "mobilenet", "nasbench1shot1-1", "nasbench1shot1-3", *DARTS_SPACES]
)
def test_every_space_trains(name: str) -> None:
    space = SPACES[name]
    arch = space.encode(space.arch(space.num_archs // 2))
    size = {"channels": 2, "num_cells": 3} if name in DARTS_SPACES else {}
    config = TrainConfig(arch, name, "digits", "nb201", epochs=1, batch_size=4, max_images=8, **size)
    (row,) = run(config)
    assert np.isfinite(row.test_loss)


def test_the_last_minibatch() -> None:
    assert WorkerPart().training_parts(10, 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert WorkerPart().training_parts(9, 4) == [slice(0, 4), slice(4, 8)]  # not one image alone
    two = [WorkerPart(rank, 2).training_parts(13, 8) for rank in (0, 1)]
    assert two == [[slice(0, 4), slice(8, 10)], [slice(4, 8), slice(10, 12)]]
    assert [WorkerPart(rank, 2).test_parts(10, 4) for rank in (0, 1)] == [[slice(0, 4), slice(8, 12)], [slice(4, 8)]]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images that are decoded when they are wanted, as the data set "photos"."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                image = random.integers(0, 256, (3, 40, 50)).astype(np.uint8)
                (tmp_path / split / name / f"{i}.png").write_bytes(encoded(image))
    monkeypatch.setitem(DATASETS, "photos", image_folder("photos", tmp_path, flip=True, in_memory=False))
    return tmp_path


@pytest.mark.parametrize("recipe", ["cifar", "imagenet-mobilenet"])
def test_loader_workers_change_nothing(photos: Path, recipe: str) -> None:
    config = dataclasses.replace(TOY, dataset="photos", recipe=recipe, epochs=1)
    here, elsewhere = (run(dataclasses.replace(config, loader_workers=workers)) for workers in (0, 2))
    assert here == elsewhere
    feed = Feed(DATASETS["photos"].load("train"), RECIPES[recipe], "cpu", WorkerPart(), 0)
    first, same, other = (next(feed.training_epoch(seed)).images for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    (photos / "train" / "cat" / "3.png").write_text("no image")
    for workers in (0, 2):
        with pytest.raises(UserError, match=r"^.*3.png: not an image, or not of a known kind \(.*\)$"):
            run(dataclasses.replace(config, loader_workers=workers))


def test_workers_take_their_parts_of_a_minibatch() -> None:
    images = DATASETS["digits"].load("train")
    recipe = dataclasses.replace(RECIPES["cifar"], batch_size=10)
    whole, *halves = (
        next(Feed(images, recipe, "cpu", worker, 0).training_epoch(3))
        for worker in (WorkerPart(), WorkerPart(0, 2), WorkerPart(1, 2))
    )
    assert torch.equal(torch.cat([half.images for half in halves]), whole.images)
    assert torch.equal(torch.cat([half.labels for half in halves]), whole.labels)
    assert (whole.images == 0).flatten(1).any(1).all()  # cutout


def test_weight_decay_spares_batch_norms_and_biases_where_wanted() -> None:
    config = dataclasses.replace(TOY, recipe="imagenet-mobilenet")
    spared = [
        (group["weight_decay"], {p.dim() for p in group["params"]})
        for group in Trainer(TrainPlan.of(config), WorkerPart()).optimizer.param_groups
    ]
    assert spared == [(4e-5, {2, 4}), (0.0, {1})]
    (group,) = Trainer(TrainPlan.of(TOY), WorkerPart()).optimizer.param_groups
    assert group["weight_decay"] == 5e-4


def test_auxiliary_head_and_drop_path() -> None:
    trainer = Trainer(TrainPlan.of(DARTS), WorkerPart())
    trainer.run_epoch(2)
    assert isinstance(trainer.net, EvaluationNetwork)
    drop_paths = [cell.drop_path for cell in trainer.net.modules() if isinstance(cell, DartsCell)]
    assert len(drop_paths) == 4
    assert all(drop_path == pytest.approx(0.2 * 2 / 3) for drop_path in drop_paths)
    assert all(parameter.grad is None for parameter in trainer.net.parameters())
    assert trainer.net.auxiliary_after
    momenta = [
        trainer.optimizer.state[parameter]["momentum_buffer"] for parameter in trainer.net.auxiliary.parameters()
    ]
    assert all(momentum.any() for momentum in momenta)
    without = Trainer(TrainPlan.of(dataclasses.replace(DARTS, recipe="nb201")), WorkerPart()).net
    assert isinstance(without, EvaluationNetwork)
    assert without.auxiliary_after is None


def test_bfloat16_on_a_cpu() -> None:
    exact, coarse = (run(dataclasses.replace(TOY, epochs=1, precision=precision)) for precision in ("auto", "bfloat16"))
    assert coarse[0].train_loss == pytest.approx(exact[0].train_loss, rel=0.02)
    assert coarse[0].train_loss != exact[0].train_loss
    with pytest.raises(
        UserError, match="dilated convolutions have no bfloat16 gradients on a CPU; use --precision float32"
    ):
        run(dataclasses.replace(DARTS, precision="bfloat16"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recipe": "imagenet"},
            "unknown recipe 'imagenet'; choose from cifar, cifar-subspaces, nb201, imagenet-darts, ",
        ),
        ({"space": "toy"}, "unknown space 'toy'"),
        ({"dataset": "cifar"}, "unknown dataset 'cifar'"),
        ({"arch": "nor_conv_3x3"}, "not a toy-chain-2 architecture: 'nor_conv_3x3'"),
        ({"channels": 8}, "space 'toy-chain-2' takes no --channels: leave it out"),
        ({"device": "cuda"}, "device 'cuda' was asked for, but torch sees no GPU here"),
    ],
)
def test_bad_input_is_refused_at_once(
    change: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError) as error:
        train(TrainPlan.of(dataclasses.replace(TOY, **change)), tmp_path / "run")  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_images_that_do_not_fit() -> None:
    imagenet = dataclasses.replace(DARTS, recipe="imagenet-darts")
    with pytest.raises(UserError, match=r"space 'darts' by recipe 'imagenet-darts' does not take images of 3x32x32: "):
        run(imagenet)
    with pytest.raises(
        UserError, match="each worker needs at least 2 images of a minibatch, got a batch of 16, 1 images and 1 workers"
    ):
        run(dataclasses.replace(TOY, max_images=1))


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.parametrize("config", [TOY, pytest.param(DARTS, marks=pytest.mark.slow)], ids=["toy", "darts"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_or_not_a_step_is_the_same(config: TrainConfig) -> None:
    """The random numbers are, those of drop path too; so the loss is, but for rounding."""
    losses = []
    for compiled in (False, True):
        trainer = Trainer(TrainPlan.of(dataclasses.replace(config, compile=compiled)), WorkerPart())
        if isinstance(trainer.net, EvaluationNetwork):
            trainer.net.set_drop_path(0.3)
        torch.manual_seed(0)
        losses.append(float(trainer.step(next(iter(trainer.feed.training_epoch(0))))[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


COMPILES_ONE_KERNEL = """
import torch
from zcpt_ray.training.plan import compile_options
double = torch.compile(lambda x: (x.sin() * 2).relu(), options=compile_options("cpu"))
x = torch.linspace(0, 3, 1000)
assert torch.allclose(double(x), x.sin() * 2, atol=1e-5), double(x)
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.parametrize("order", [("avx2", None), (None, "avx2"), ("default", None)])
def test_compiled_code_is_kept_apart_by_instruction_set(order: tuple[str | None, ...], tmp_path: Path) -> None:
    """Torch's store of it, which the machine's processes share, does not."""
    for capability in order:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        if capability:
            environment["ATEN_CPU_CAPABILITY"] = capability
        subprocess.run([sys.executable, "-c", COMPILES_ONE_KERNEL], env=environment, check=True)


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_compiled_code_is_told_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert compile_options("cpu") == {"fallback_random": True, "cpp.simdlen": 0}
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        bits = {"AVX2": 256, "AVX512": 512}[torch.backends.cpu.get_cpu_capability()]
        assert compile_options("cpu")["cpp.simdlen"] == bits
    assert compile_options("cuda") == {"fallback_random": True}


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError,
        match=r"--compile needs a C\+\+ compiler, there is no no-such-compiler; install g\+\+ or leave out --compile",
    ):
        run(dataclasses.replace(TOY, compile=True))


def test_noise_is_fresh_in_training_only() -> None:
    space = SPACES["darts-s4"]
    net = space.trained_form(space.edges, 10)
    assert all(module.fresh for module in net.modules() if isinstance(module, Noise))
    assert not any(module.fresh for module in space.build(space.edges, 10).modules() if isinstance(module, Noise))
    noise, x = Noise(2, fresh=True), torch.zeros(3, 2, 4, 4)
    first, second = noise(x), noise(x)
    assert first is not None
    assert second is not None
    assert first.shape == (3, 2, 2, 2)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
