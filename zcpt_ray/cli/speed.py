"""`zcpt benchmark`: how fast the engine is, beside a plain implementation of the released code's way, in one run."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal, get_args

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Help, parse
from zcpt_ray.cli.timings.machine import restart_with
from zcpt_ray.errors import UserError

SPEED_HELP = Help(
    "benchmark",
    """Time the engine beside a plain form of the released code's way, in one run: `ratio` is reference / ours.

Each is the median of three runs in turn. Writes benchmark.csv, a row at a time; `convolutions` is the share of our time
that convolutions take.""",
    (
        "zcpt benchmark --parts nasbench201 --isa avx2",
        "zcpt benchmark --parts darts layer-wise --dataset cifar10 --out runs/speed",
        "zcpt benchmark --parts scaling",
    ),
)
TimedPart = Literal[
    "nasbench201", "darts", "layer-wise", "own-network", "search", "ablation", "training", "scaling", "sizes", "proxies"
]


@dataclass(frozen=True)
class SpeedFlags:
    """What to time."""

    parts: tuple[TimedPart, ...] = get_args(TimedPart)
    """Spaces, a whole search, a grid of N and V, trainings, workers on Ray, large runs (`sizes`), and every proxy on
    NAS-Bench-201.
    """
    dataset: str = "digits"
    """Data set that the minibatches come from."""
    batch_size: int = 256
    """Images per minibatch."""
    device: str = "auto"
    """cpu, cuda, xpu (Intel), mps (Apple), or auto: an NVIDIA, AMD or Intel GPU if there is one."""
    isa: Literal["all", "avx2"] = "all"
    """Instructions of the CPU: all it has, or none beyond AVX2, as on machines that have no more."""
    smoke: bool = False
    """Small batches, to see that everything runs."""
    out: str = "runs/benchmark"
    """Folder for benchmark.csv."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, time the parts that are wanted, row by row."""
    with one_line_errors():
        flags = parse(SpeedFlags(), SPEED_HELP, argv)
        if flags.isa != "all":
            restart_with(flags.isa, ["benchmark", *(sys.argv[1:] if argv is None else argv)])
        run(flags, open_console())


def run(flags: SpeedFlags, console: Console) -> None:
    """Time the parts that are wanted, row by row.

    Raises:
        UserError: a batch that is too small, or no such device.
    """
    if flags.batch_size < 16:
        raise UserError(f"batch_size must be at least 16 to be halved three times, got {flags.batch_size}")
    console.print(f"Time {', '.join(flags.parts)} -> {flags.out}", soft_wrap=True, highlight=False)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler would say each time that it starts
    import pandas as pd
    import torch

    from zcpt_ray.cli.timings.engine import darts_rows, layerwise_rows, nasbench201_rows, peak_memory, proxy_seconds
    from zcpt_ray.cli.timings.machine import describe_cpu
    from zcpt_ray.cli.timings.own_network import own_network_rows
    from zcpt_ray.cli.timings.reference import PROXY, WAYS, Timing
    from zcpt_ray.cli.timings.runs import ablation_rows, scaling_rows, search_rows
    from zcpt_ray.cli.timings.sizes import sizes_rows
    from zcpt_ray.cli.timings.trainings import training_rows
    from zcpt_ray.devices import local_device
    from zcpt_ray.proxies import PROXIES
    from zcpt_ray.reports.tables import write_table
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.storage.paths import any_path, require_storage, write_whole

    timed = {
        "nasbench201": nasbench201_rows,
        "darts": darts_rows,
        "layer-wise": layerwise_rows,
        "own-network": own_network_rows,
        "search": search_rows,
        "ablation": ablation_rows,
        "training": training_rows,
        "scaling": scaling_rows,
        "sizes": sizes_rows,
    }
    timing, out = Timing(flags.dataset, flags.batch_size, flags.device, flags.smoke), any_path(flags.out)
    device = local_device(flags.device)
    console.print(f"{PROXY.name}, float32 on {device}, torch {torch.__version__}\n{describe_cpu()}", highlight=False)
    rows: list[dict[str, str]] = []
    require_storage(out)

    def add(what: str, seconds: dict[str, float]) -> None:
        rows.append({"seconds for": what, **{name: f"{value:.3g}" for name, value in seconds.items()}})
        write_whole(out / "benchmark.csv", pd.DataFrame(rows).to_csv(index=False))
        console.print(f"{what}: " + ", ".join(f"{name} {value:.3g}" for name, value in seconds.items()))

    # First, while this process is small: on Linux a child starts with its parent's peak.
    for space, size in (("nasbench201", 16 if flags.smoke else flags.batch_size), ("darts", 4 if flags.smoke else 64)):
        if space in flags.parts:
            with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
                peaks = {way: fresh.submit(peak_memory, way, timing, space, size).result() for way in WAYS}
            add(f"peak memory, {space}, batch {size}, GiB", peaks | {"ratio": peaks["reference"] / peaks["ours"]})
    for part in flags.parts:
        if part in timed:
            for what, seconds in timed[part](timing):
                add(what, seconds)
    print_table(console, pd.DataFrame(rows), "Ours beside the released code's way; ratio = reference / ours")
    if "proxies" in flags.parts:
        least = max(proxy.images_needed() for proxy in PROXIES.values())
        size = max(least, (16 if flags.smoke else flags.batch_size) // 4)
        proxies = proxy_seconds(timing, size)
        write_table(proxies, out / "proxies")
        print_table(console, proxies, f"Every proxy, batch {size}")
