"""Trainings on the HTML page: methods, architectures, pairs, curves, error against size, and every training."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from zcpt_ray.reports import figures, page
from zcpt_ray.reports.page import PageFold, PagePart
from zcpt_ray.reports.page_parts import fine_print, pairs_part
from zcpt_ray.reports.training_report import sizes_figure
from zcpt_ray.reports.training_tables import (
    Trained,
    by_architecture,
    by_method,
    learning_curves,
    training_pairs,
    training_table,
)

METHODS_TITLE = "Over search and training seeds: test error [%] after the last epoch"


def training_parts(trained: Sequence[Trained]) -> tuple[PagePart, ...]:
    """A grid: methods over all seeds, architectures over training seeds, and each training."""
    trained = sorted(trained, key=lambda training: (training.name, training.result.config.seed))
    parts: list[PagePart] = []
    if methods := by_method(trained):
        parts.append(page.table(METHODS_TITLE, training_table(methods)))
    parts.append(page.table("By architecture, over training seeds", training_table(by_architecture(trained))))
    if not (pairs := training_pairs(trained)).empty:
        parts.append(PageFold("Pair by pair", (pairs_part(pairs),)))
    curves = figures.learning_curves(learning_curves(trained))
    first = trained[0].result
    return (
        *parts,
        page.picture("Learning curves", figures.drawn(curves, "svg")),
        page.picture("Test error against parameters", figures.drawn(sizes_figure(trained), "svg")),
        page.table("Every training", pd.DataFrame([_row(training) for training in trained])),
        fine_print(dataclasses.asdict(first.config), first.versions),
    )


def _row(trained: Trained) -> dict[str, object]:
    """A training in the table of all."""
    result, last = trained.result, trained.result.history[-1]
    return {
        "trained": trained.name,
        "seed": result.config.seed,
        "epochs": len(result.history),
        "test error [%]": f"{result.error:.2f}",
        "top-5 error [%]": "-" if last.top5_error is None else f"{last.top5_error:.2f}",
        "train error [%]": f"{last.train_error:.2f}",
        "params [M]": f"{result.params / 1e6:.3f}",
        "FLOPs [M]": f"{result.flops / 1e6:.1f}",
        "images/s": round(float(np.median([metrics.images_per_second for metrics in result.history]))),
        "seconds": f"{result.seconds:.1f}",
        "device": result.device,
        "architecture": result.config.arch,
    }
