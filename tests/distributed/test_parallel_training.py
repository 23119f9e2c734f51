"""Two workers train as one does, and go on after a kill."""

import dataclasses
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import torch
from epoch_rows import timeless

from zcpt_ray.distributed.training import Workers, train_in_parallel
from zcpt_ray.errors import UserError
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.image_feed import WorkerPart
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import EpochMetrics, TrainResult
from zcpt_ray.training.trainer import Trainer, train

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
SPACE = '''
from torch import nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.layers import Layer
from zcpt_ray.spaces import Space
from zcpt_ray.engine.supernet import Supernet


class Convolution(Layer):
    """Without batch norm: what it makes of an image does not depend on the others."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 4)

    def forward(self, x, weights):
        return self.conv(x).relu().mean((2, 3))


class Apart(Space):
    edges = (Edge("only", ("nothing",)),)

    def build(self, edges, num_classes):
        return Supernet(edges, {"conv": Convolution()}, 8, num_classes)

    def encode(self, arch):
        return "nothing"

    def decode(self, text):
        return ArchSpec(self.name, (("nothing",),))


SPACE = Apart()
'''
TOY = TrainConfig(
    "nor_conv_3x3>skip_connect", space="toy-chain-2", dataset="digits", recipe="nb201", epochs=5, batch_size=16
)
TOY = dataclasses.replace(TOY, max_images=40)
SLOW = dataclasses.replace(TOY, epochs=10, batch_size=64, max_images=400)
"""Epochs that take longer than two looks at what workers have done."""
TWO = Workers(2, max_failures=1)


def start() -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    start()
    yield
    ray.shutdown()


@ray.remote(max_calls=1)
def one_of_two(rank: int, rendezvous: str) -> tuple[list[EpochMetrics], dict[str, np.ndarray]]:
    """What a worker yields, and the weights and batch statistics that it ends with."""
    torch.distributed.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=2)
    trainer = Trainer(TrainPlan.of(SLOW), WorkerPart(rank, 2))
    rows = [trainer.run_epoch(epoch) for epoch in range(SLOW.epochs or 0)]
    return timeless(rows), {name: tensor.numpy() for name, tensor in trainer.net.state_dict().items()}


def test_two_workers_train_as_one(tmp_path: Path) -> None:
    (tmp_path / "apart.py").write_text(SPACE)
    config = dataclasses.replace(TOY, arch="nothing", space=str(tmp_path / "apart.py"), recipe="cifar")
    one = list(train(TrainPlan.of(config), tmp_path / "one"))
    two = list(train_in_parallel(TrainPlan.of(config), tmp_path / "two", TWO))
    for alone, together in zip(one, two, strict=True):
        for name in ("epoch", "learning_rate", "train_loss", "train_error", "test_loss", "top1_error", "top5_error"):
            assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-5), name
    result = TrainResult.load(tmp_path / "two")
    assert (result.history, result.device) == (tuple(two), "2 x cpu")
    found = [torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["network"] for run in ("one", "two")]
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
    ray.shutdown()
    assert list(train_in_parallel(TrainPlan.of(config), tmp_path / "two", TWO)) == two  # finished: Ray is not asked
    start()


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_agree_and_go_on_after_a_kill_and_a_stop(
    by: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A frozen worker is killed after a while, and all go on from the last epoch."""
    monkeypatch.setenv("ZCPT_HUNG_SECONDS", "3")
    (rows, first), (same, second) = ray.get([one_of_two.remote(rank, str(tmp_path / "rendezvous")) for rank in (0, 1)])
    assert rows == same
    assert all(np.array_equal(first[name], second[name]) for name in first)

    epochs = train_in_parallel(TrainPlan.of(SLOW), tmp_path / "run", TWO)
    seen = [next(epochs)]
    titles = {process.pid: " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    mine = {child.pid for child in psutil.Process().children(recursive=True)}
    os.kill(min(pid for pid in mine if "RayTrainWorker" in titles.get(pid, "")), by)
    seen.append(next(epochs))
    frozen = r"worker \d has said nothing for .* killed, and all start again from the last epoch"
    while by == signal.SIGSTOP and not re.search(frozen, caplog.text):
        seen.append(next(epochs))
    epochs.close()
    assert not (tmp_path / "run" / "training.json").exists()
    assert timeless(seen) == rows[: len(seen)]
    assert timeless(list(train_in_parallel(TrainPlan.of(SLOW), tmp_path / "run", TWO))) == rows
    network = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["network"]
    assert all(np.array_equal(first[name], network[name].numpy()) for name in first)


def test_what_no_retry_can_mend(tmp_path: Path) -> None:
    next(train(TrainPlan.of(TOY), tmp_path))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        UserError, match=r"^.*checkpoint.pt is damaged \(.*\); delete it to have the training start again$"
    ):
        list(train_in_parallel(TrainPlan.of(TOY), tmp_path, TWO))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a batch of 16 cannot be divided among 3 workers"):
        train_in_parallel(TrainPlan.of(TOY), tmp_path / "run", Workers(3))
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        UserError, match=r"4 workers ask for 1 CPUs and 0 GPUs each, and the nodes .* have room for 2 of them"
    ):
        train_in_parallel(TrainPlan.of(TOY), tmp_path / "run", Workers(4))
    with pytest.raises(UserError, match="device 'cuda' was asked for, but the Ray cluster has no GPU"):
        train_in_parallel(TrainPlan.of(dataclasses.replace(TOY, device="cuda")), tmp_path / "run", TWO)
    with pytest.raises(UserError, match="at least 1 worker"):
        Workers(0)
