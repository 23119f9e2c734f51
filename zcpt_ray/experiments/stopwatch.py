"""What passes of networks take on this machine's CPU, of images of one shape under one runtime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.engine.timing import FEWEST_ROUNDS, Latency, Pass, cpu_threads, rounds_for, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import Space

RUNTIMES = ("torch", "onnxruntime")
TOGETHER = 10
"""Networks that run in turn."""


@dataclass(frozen=True)
class Conditions:
    """What latencies depend on beside the network: `batch_size` images [C, H, W] at once, on so many CPU threads."""

    image_shape: tuple[int, ...]
    num_classes: int
    batch_size: int = 1
    threads: int = 1
    runtime: str = "torch"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {self.runtime!r}; choose from {', '.join(RUNTIMES)}")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def images(self) -> Tensor:
        """As the network gets them."""
        return torch.zeros(self.batch_size, *self.image_shape)

    def network(self, space: Space, arch: ArchSpec) -> nn.Module:
        """The network that one would train, ready to run."""
        with torch.random.fork_rng([]):
            return space.trained_form(space.single_path(arch), self.num_classes).eval()

    def run(self, network: nn.Module, *inputs: Any) -> Pass:
        """A pass, of images or of what an op reads."""
        given = inputs or (self.images,)
        if self.runtime == "torch":
            return lambda: network(*given)
        from zcpt_ray.training.export import onnx_pass  # every search imports this module, few want that one

        return onnx_pass(network, given, self.threads)


class Stopwatch:
    """Times networks beside one that always runs."""

    def __init__(self, conditions: Conditions, reference: nn.Module) -> None:
        self.conditions = conditions
        self.reference = conditions.run(reference)
        self.first = float(np.median(time_in_turn([self.reference], FEWEST_ROUNDS)))
        self.rounds = rounds_for(self.first)
        self.seen: list[float] = []

    def time(self, networks: Sequence[nn.Module]) -> list[float]:
        """Milliseconds of each, medians over rounds, as if the reference took what it did at `first`."""
        passes = [self.reference, *(self.conditions.run(network) for network in networks)]
        reference, *medians = np.median(time_in_turn(passes, self.rounds), axis=0).tolist()
        self.seen.append(reference)
        return [self.first * median / reference for median in medians]

    @property
    def pace(self) -> float:
        """How many times as long all takes on the machine as it mostly was."""
        return float(np.median(self.seen)) / self.first


def measure_networks(space: Space, archs: Sequence[ArchSpec], conditions: Conditions) -> list[Latency]:
    """How long whole networks take on this machine."""
    found: list[Latency] = []
    with cpu_threads(conditions.threads):
        for some in in_groups(archs):
            passes = [conditions.run(conditions.network(space, arch)) for arch in some]
            rounds = rounds_for(float(np.median(time_in_turn(passes, 1))))
            found += [Latency.of(taken) for taken in time_in_turn(passes, 2 * rounds).T.tolist()]
    return found


def in_groups(archs: Sequence[ArchSpec]) -> Iterator[Sequence[ArchSpec]]:
    """Those that run in turn."""
    return (archs[start : start + TOGETHER] for start in range(0, len(archs), TOGETHER))
