"""What the commands that run grids share: where they run, and the list of what failed."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from zcpt_ray.cli.flags import Cluster
from zcpt_ray.errors import UserError


@dataclass(frozen=True)
class GridFlags:
    """Where a grid runs, and what else hears of it."""

    cluster: Cluster = field(default_factory=Cluster)
    trackers: tuple[str, ...] = ()
    """Also log to mlflow, wandb: they read servers and keys from the environment variables they always read."""
    experiment: str = "zcpt_ray"
    """What trackers call the experiment."""

    def __post_init__(self) -> None:
        if self.trackers and self.cluster.local:
            raise UserError("--trackers hear of trials from Ray Tune: leave out --local")


def end_with_failures(failures: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """A line for each reason, with the trials that failed for it, then exit code 1; nothing if none did."""
    for reason in dict.fromkeys(failures.values()):
        failed = [labels[name] for name, why in failures.items() if why == reason]
        print(f"failed: {'; '.join(failed)}: {reason}", file=sys.stderr)
    if failures:
        sys.exit(1)
