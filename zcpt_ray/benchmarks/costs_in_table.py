"""What the networks of tabular benchmarks cost."""

from zcpt_ray.arch import ArchSpec
from zcpt_ray.benchmarks.tables import as_written
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.spaces.costs import Cost, cost_in_table


def costs(space: str | Space, arch: object, *, num_classes: int | None = None, image_size: int | None = None) -> Cost:
    """Parameters and multiply-adds of an architecture: `.params` and `.flops`.

    They are those of the network that the space's table of trained networks is of, where there is one: on DARTS that of
    NAS-Bench-301. By default it has that table's number of classes and images; a space without a table, ten classes.

    Args:
        space: A name, a Python file, or a space.
        arch: As the space writes it, or its number in the table.
        num_classes: Classes.
        image_size: Pixels a side.

    Raises:
        UserError: an unknown space, or no architecture of it.
    """
    found = find_space(space) if isinstance(space, str) else space
    spec = arch if isinstance(arch, ArchSpec) else found.decode(as_written(found, arch))
    return cost_in_table(found, spec, num_classes, image_size)
