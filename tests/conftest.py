import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from zcpt_ray.datasets.minibatches import Batch, ImageSet
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.spaces.nasbench201 import NASBench201

# By a file in this folder Ray tells a driver which cluster of the machine to join. What a test starts must not join
# that of a test in another process, which may end before it.
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: sockets lie in it
atexit.register(shutil.rmtree, os.environ["RAY_TMPDIR"], ignore_errors=True)
torch.set_num_threads(1)  # as Ray's workers have, with whose results some are compared bit by bit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`data` tests need the real tables, `published` tests published values, `gpu` tests a GPU, `browser` tests
    Chromium.
    """
    folder, reference = os.environ.get("ZCPT_DATA"), os.environ.get("ZCPT_REFERENCE")
    browser = shutil.which("chromium") and shutil.which("chromedriver") and importlib.util.find_spec("selenium")
    for item in items:
        if item.get_closest_marker("browser") and not browser:
            item.add_marker(pytest.mark.skip(reason="needs Chromium: apt-get install chromium chromium-driver"))
        if item.get_closest_marker("data") and not (folder and (Path(folder) / "tables").is_dir()):
            item.add_marker(pytest.mark.skip(reason="needs real tables: set ZCPT_DATA to a folder that has tables/"))
        if item.get_closest_marker("published") and not (
            reference and (Path(reference) / "suite_zero_nb201.parquet").exists()
        ):
            item.add_marker(pytest.mark.skip(reason="needs published values: set ZCPT_REFERENCE to their folder"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def batch() -> Batch:
    """12 random images."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.standard_normal((12, 3, 32, 32)).astype(np.float32))
    return Batch(images, torch.from_numpy(random.integers(0, 10, 12)))


@pytest.fixture
def images() -> ImageSet:
    """40 random raw images of 3 classes."""
    random = np.random.default_rng(1)
    raw = random.integers(0, 256, (40, 3, 32, 32)).astype(np.uint8)
    return ImageSet(raw, random.integers(0, 3, 40), 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), flip=True)


@pytest.fixture
def data(images: ImageSet) -> SearchData:
    """The same as both halves."""
    return SearchData(images, held_out=images)


@pytest.fixture
def small_space() -> NASBench201:
    """NAS-Bench-201 with narrow stages of one cell: everything the full one has, in milliseconds."""
    return NASBench201(channels=4, cells_per_stage=1)


@pytest.fixture(params=[2])
def cluster(request: pytest.FixtureRequest) -> Iterator[int]:
    """Ray on this machine, of its own, with as many CPUs as the parameter says."""
    import ray

    ray.init(
        address="local", num_cpus=request.param, log_to_driver=False, include_dashboard=False, logging_level="ERROR"
    )
    yield request.param
    ray.shutdown()
