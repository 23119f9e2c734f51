"""For tests of trainings: rows of metrics without what the clock says."""

import dataclasses

from zcpt_ray.training.records import EpochMetrics


def timeless(rows: list[EpochMetrics]) -> list[EpochMetrics]:
    return [dataclasses.replace(row, images_per_second=0, seconds=0) for row in rows]
