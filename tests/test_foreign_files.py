"""Files that others have written, and that something has damaged: what reads them refuses them, or takes them.

Never a traceback, and never more memory or time than a file of their size is worth.
"""

import dataclasses
import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import archive, encoded, shard, write_image, write_imagenet16, write_mat
from official_nasbench201 import official_file

from zcpt_ray.arch import PartialArch
from zcpt_ray.benchmarks.convert_nasbench201 import convert
from zcpt_ray.benchmarks.latencies import OpLatencies, device_table, error_of
from zcpt_ray.benchmarks.tables import load_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets import DATASETS, image_folder
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.latency_limits import conditions_of
from zcpt_ray.experiments.ranking import read_archs
from zcpt_ray.plugins import load_plugin
from zcpt_ray.reports.run_folders import find_runs
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.methods import random_arch
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces import SPACES, find_space
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.model_file import load_model
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.trainer import train

MEMORY = 1 << 30
"""Bytes that reading one of these small files may take on top of what is there."""
SECONDS = 20
TOY = SearchConfig(space="toy-chain-1", num_proposals=2, num_validations=2, batch_size=8)


class Reader(NamedTuple):
    """Writes a good file below a folder and gives its path; then reads what is there."""

    write: Callable[[Path], Path]
    read: Callable[[Path], object]


IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32)).astype(np.uint8)


def write_cifar(folder: Path) -> Path:
    path = folder / "cifar-10-python.tar.gz"
    batch = {b"data": IMAGES.reshape(10, -1), b"labels": list(range(10))}
    archive(path, {f"data_batch_{part}": batch for part in range(1, 6)})
    return path


def write_imagenet16_file(folder: Path) -> Path:
    write_imagenet16(folder / "ImageNet16", 2)
    return folder / "ImageNet16" / "val_data"


def write_svhn(folder: Path) -> Path:
    split = ImageSet(IMAGES, np.arange(10), 10, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), flip=False)
    write_mat(folder / "train_32x32.mat", split, np.arange(10) + 1)
    return folder / "train_32x32.mat"


def write_shard(folder: Path) -> Path:
    return shard(folder / "photos" / "train.parquet", [encoded(image) for image in IMAGES], [0, 1] * 5)


def write_photos(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        for index, image in enumerate(IMAGES):
            write_image(folder / "photos" / "ab"[index % 2] / f"{index}.{ending}", image)
        return folder / "photos" / "a" / f"2.{ending}"

    return write


def read_photos(folder: Path) -> object:
    return image_folder("photos", folder / "photos").load("train")


def write_table(folder: Path) -> Path:
    path = folder / "tables" / "nasbench201.parquet"
    convert(official_file(folder / "official.pth", zipped=True), path)
    return path


def write_official(zipped: bool) -> Callable[[Path], Path]:
    return lambda folder: official_file(folder / "official.pth", zipped)


def read_official(folder: Path) -> object:
    return convert(folder / "official.pth", folder / "table.parquet")


def write_archs(space: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        given = find_space(space)
        path = folder / "archs.json"
        random = np.random.default_rng(0)
        path.write_text(json.dumps({str(index): given.encode(random_arch(given, random)) for index in range(3)}))
        return path

    return write


def read_archs_of(space: str) -> Callable[[Path], object]:
    return lambda folder: read_archs(folder / "archs.json", find_space(space))


def write_run(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        run_search_locally(Search.of(TOY), folder / "run").save(folder / "run")
        return next((folder / "run").glob(name))

    return write


def read_run(folder: Path) -> object:
    return run_search_locally(Search.of(TOY), folder / "run"), find_runs([folder])


def write_training(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        epochs = train(training(), folder / "training")
        next(epochs)
        if name != "checkpoint.pt":
            list(epochs)
        epochs.close()
        return folder / "training" / name

    return write


def training() -> TrainPlan:
    config = TrainConfig("nor_conv_3x3", space="toy-chain-1", dataset="digits", recipe="nb201", epochs=2, batch_size=16)
    return TrainPlan.of(dataclasses.replace(config, max_images=32))


PLUGIN = '''"""A proxy of one's own."""
import zcpt_ray as zc


def mine(net, batch):
    return 1.0


PROXY = zc.Proxy("mine", (mine,), "own")
'''


def write_plugin(folder: Path) -> Path:
    path = folder / "mine.py"
    path.write_text(PLUGIN)
    return path


def write_latencies(ending: str) -> Callable[[Path], Path]:
    """The latencies of all networks of a chain."""

    def write(folder: Path) -> Path:
        space = SPACES["toy-chain-2"]
        archs = [space.encode(space.arch(index)) for index in range(space.num_archs)]
        table, path = pd.DataFrame({"arch": archs, "latency_ms": range(len(archs))}), folder / f"device.{ending}"
        table.to_csv(path) if ending == "csv" else table.to_parquet(path)
        return path

    return write


def write_profile(folder: Path) -> Path:
    space = SPACES["toy-chain-2"]
    ops = [("", ""), *((edge.name, op) for edge in space.edges for op in edge.candidates)]
    table = pd.DataFrame(ops, columns=["edge", "op"]).assign(latency_ms=1.0, low_ms=1.0, high_ms=1.0)
    about = {"space": space.name, "edges": [edge.name for edge in space.edges], "image_shape": [3, 32, 32]}
    about |= {"num_classes": 10, "batch_size": 1, "threads": 1, "runtime": "torch", "cpu": "x", "check": {"drift": 1.0}}
    OpLatencies(table, about).save(folder / "device.parquet")
    return folder / "device.parquet"


def read_latencies(folder: Path) -> None:
    (path,) = folder.glob("device.*")
    error_of(path)
    conditions_of(path)
    device_table(str(path), SPACES["toy-chain-2"]).typical(PartialArch.all_open(SPACES["toy-chain-2"].edges))


READERS = {
    "latencies of networks": Reader(write_latencies("parquet"), read_latencies),
    "latencies of networks, as CSV": Reader(write_latencies("csv"), read_latencies),
    "a profile": Reader(write_profile, read_latencies),
    "CIFAR's archive": Reader(write_cifar, lambda folder: DATASETS["cifar10"].load("train")),
    "a pickle of ImageNet16": Reader(write_imagenet16_file, lambda folder: DATASETS["imagenet16-120"].load("test")),
    "a file of SVHN": Reader(write_svhn, lambda folder: DATASETS["svhn"].load("train")),
    "a parquet file of images": Reader(write_shard, read_photos),
    "a PNG": Reader(write_photos("png"), read_photos),
    "a JPEG": Reader(write_photos("jpg"), read_photos),
    "a TIFF": Reader(write_photos("tiff"), read_photos),
    "a WebP": Reader(write_photos("webp"), read_photos),
    "a benchmark's table": Reader(write_table, lambda folder: load_benchmark("nasbench201")),
    "NAS-Bench-201's file": Reader(write_official(zipped=True), read_official),
    "NAS-Bench-201's file of 2020": Reader(write_official(zipped=False), read_official),
    **{f"architectures of {space}": Reader(write_archs(space), read_archs_of(space)) for space in SPACES},
    "a configuration": Reader(write_run("config.json"), read_run),
    "a note of the images": Reader(write_run("data.json"), read_run),
    "proposals": Reader(write_run("proposals/*"), read_run),
    "steps": Reader(write_run("steps/*"), read_run),
    "validations": Reader(write_run("validations/*"), read_run),
    "a result": Reader(write_run("result.json"), read_run),
    "a training's result": Reader(
        write_training("training.json"), lambda folder: list(train(training(), folder / "training"))
    ),
    "a checkpoint": Reader(
        write_training("checkpoint.pt"), lambda folder: list(train(training(), folder / "training"))
    ),
    "a model": Reader(write_training("model.pt"), lambda folder: load_model(folder / "training")),
    "a plug-in": Reader(write_plugin, lambda folder: load_plugin(folder / "mine.py")),
}


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What may become of a file: bits flip, parts are lost, doubled or overwritten, or it is something else."""
    kind = draw(st.sampled_from(["flip", "cut", "drop", "double", "overwrite", "digits", "other"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=6))
    other = draw(st.binary(max_size=64))

    def apply(content: bytes) -> bytes:
        at = sorted(int(place * len(content)) for place in places)
        changed = bytearray(content)
        if kind == "flip":
            for index, place in enumerate(at):
                changed[place] ^= 1 << index
        elif kind == "cut":
            del changed[at[0] :]
        elif kind == "drop":
            del changed[at[0] : at[-1]]
        elif kind == "double":
            changed[at[0] : at[0]] = content[at[0] : at[-1]]
        elif kind == "overwrite":
            changed[at[0] : at[0] + len(other)] = other
        elif kind == "digits":  # numbers become other numbers
            for place, byte in enumerate(content):
                if chr(byte).isdigit() and place >= at[0]:
                    changed[place : place + 1] = b"-9" if len(at) % 2 else b"987654321"
                    break
        else:
            changed[:] = other
        return bytes(changed)

    return apply


@contextmanager
def little_memory() -> Iterator[None]:
    """Asking for much more than is in use fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("what", READERS)
def test_a_damaged_file(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "here"))
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))
    good = tmp_path / "good"
    good.mkdir()
    written = READERS[what].write(good).relative_to(good)
    shutil.copytree(good, tmp_path / "here")
    READERS[what].read(tmp_path / "here")

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(damage())
    def check(apply: Callable[[bytes], bytes]) -> None:
        shutil.rmtree(tmp_path / "here")
        shutil.copytree(good, tmp_path / "here")
        path = tmp_path / "here" / written
        path.write_bytes(apply(path.read_bytes()))
        started = time.monotonic()
        with suppress(UserError), little_memory():
            READERS[what].read(tmp_path / "here")
        assert time.monotonic() - started < SECONDS

    check()
