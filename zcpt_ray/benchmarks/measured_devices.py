"""What others measured of the networks of a benchmark, on devices that are not here."""

from zcpt_ray.benchmarks.latencies import ByArch, finite
from zcpt_ray.devices import ACCEL_TARGETS
from zcpt_ray.errors import UserError
from zcpt_ray.resources import RESOURCES
from zcpt_ray.spaces.base import Space
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import data_directory

HW_NAS_BENCH = "tables/hw_nas_bench_nb201.parquet"
ACCEL_NASBENCH = "tables/accel_nasbench.parquet"


def target_usage(resource: str, target: str, space: Space, dataset: str, image_size: int) -> ByArch:
    """What was measured on a target, as `hw_nas_bench_usage` and `accel_usage` have it.

    Raises:
        UserError: as these, or another space.
    """
    measured = "accel-mbconv" if target in ACCEL_TARGETS else "nasbench201"
    if space.name != measured:
        raise UserError(f"{target} was measured on the space {measured} only, not {space.name!r}")
    if target in ACCEL_TARGETS:
        return accel_usage(resource, target, space)
    return hw_nas_bench_usage(resource, target, space, dataset, image_size)


def accel_usage(resource: str, target: str, space: Space) -> ByArch:
    """What Accel-NASBench (Ahmad et al. 2024) measured of its networks at 224 pixels: milliseconds.

    It has latencies of zcu102 (one image) and vck190 (six at once). Where it has throughput only, they are 1,000 /
    (images per second), of the minibatches that it measured with. Which
    images are shown to a search plays no part.

    Raises:
        UserError: a missing table, or not that resource.
    """
    path = data_directory() / ACCEL_NASBENCH
    if not path.exists():
        raise UserError(f"--device {target} needs Accel-NASBench, and there is no {path}")
    if resource != "latency_ms":
        raise UserError(f"Accel-NASBench has no {RESOURCES[resource].title} of {target}: it has latency_ms")
    table, speed, latency = read_parquet(path), f"{target}_throughput_ips", f"{target}_latency_ms"
    column = latency if latency in table else speed
    if column not in table or "arch" not in table:
        raise UserError(f"{path} has no {column} by arch")
    values = finite(table[["arch", column]].dropna(), path, column).set_index("arch")[column]
    return ByArch(space, values if column == latency else 1000 / values[values > 0])


def hw_nas_bench_usage(resource: str, target: str, space: Space, dataset: str, image_size: int) -> ByArch:
    """What HW-NAS-Bench (Li et al. 2021) measured on a target: `resource` is latency_ms or energy_mj.

    It measured NAS-Bench-201 on images of 32 pixels (CIFAR) and 16 (ImageNet16-120); which others of a size are shown
    is not to be seen. Networks in which no image reaches the classifier are left out: some devices ran nothing of them.

    Raises:
        UserError: a missing table, another size, or not that resource of that device.
    """
    path = data_directory() / HW_NAS_BENCH
    if not path.exists():
        raise UserError(
            f"--device {target} needs HW-NAS-Bench, and there is no {path}: its columns are arch and, for one,"
            f" cifar10_{target}_latency_ms"
        )
    sizes = {32: "cifar100" if dataset == "cifar100" else "cifar10", 16: "imagenet16_120"}
    if image_size not in sizes:
        raise UserError(f"HW-NAS-Bench measured images of 32 and 16 pixels, not {image_size}: --image-size 32")
    table, beginning = read_parquet(path), f"{sizes[image_size]}_{target}_"
    column = beginning + resource
    if column not in table:
        has = ", ".join(str(c).removeprefix(beginning) for c in table if str(c).startswith(beginning)) or "nothing"
        raise UserError(f"{path} has no {RESOURCES[resource].title} of {target}: it has {has}")
    values = finite(table[["arch", column]].dropna(), path, column).set_index("arch")[column]
    return ByArch(space, values[[_reaches_output(space, str(arch)) for arch in values.index]])


def _reaches_output(space: Space, arch: str) -> bool:
    (links,) = space.graphs(space.decode(arch)).values()
    reached = {links[0][0]}
    for source, target, op in links:  # sorted by target
        if source in reached and op != "none":
            reached.add(target)
    return links[-1][1] in reached
