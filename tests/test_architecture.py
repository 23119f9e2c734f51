"""Imports point one way, and Ray stays at the rim."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = (
    {"errors"},
    {"arch", "augmentation", "depthwise", "files", "recipes", "registry", "seeding", "published", "nasbench101"},
    {"configs", "data", "ops", "benchmark_tables", "run_directory", "mirror", "autoscaling"},
    {"darts_ops"},
    {"layers", "records", "training_images", "training_records", "benchmarks", "datasets"},
    {"supernet", "cells", "results", "plots", "drawings"},
    {"darts_cell", "inverted_residual", "ablation_results", "page"},
    {"darts_network", "training_results"},
    {"proxies", "spaces", "found_runs"},
    {"orders", "oracles", "score_count", "score_tables", "supernet_training", "training_plan", "costs", "search_report", "report"},
    {"scoring", "training"},
    {"baselines"},
    {"search", "convert_nasbench201"},
    {"study", "ranking", "ablation", "grids", "cluster"},
    {"distributed", "parallel_training", "training_grid"},
    {"cli", "tuning", "scaling"},
    {"comparison", "study_report", "experiments", "grid_reports"},
)
RAY = {"autoscaling", "cluster", "distributed", "parallel_training", "scaling", "tuning", "jobs"}


def component(path: Path) -> str:
    """The module or package below zcpt_ray that a file belongs to; "jobs" for a job."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "jobs" if parts[0] == "jobs" else parts[1]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "zcpt_ray" else {node.module}
    return names


FILES = [
    path
    for folder in ("zcpt_ray", "jobs")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.name + path.name != "zcpt_ray__init__.py"
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    level = {name: index for index, names in enumerate(LEVELS) for name in names} | {"jobs": len(LEVELS)}
    own = component(path)
    for name in imported(path):
        if name.startswith("zcpt_ray."):
            other = name.split(".")[1]
            assert other == own or level[other] < level[own], f"{own} must not import {other}"
        if name.split(".")[0] == "ray":
            assert own in RAY, f"{own} must not import ray"


def test_results_read_records_only() -> None:
    names = ("ablation_results", "configs", "files", "published", "records", "results", "training_records")
    allowed = {f"zcpt_ray.{name}" for name in names}
    for module in ("results", "training_results", "ablation_results"):
        assert {name for name in imported(ROOT / f"zcpt_ray/{module}.py") if name.startswith("zcpt_ray")} <= allowed


def test_the_core_runs_without_ray() -> None:
    code = "import sys; sys.modules['ray'] = None; import zcpt_ray.comparison, zcpt_ray.report, zcpt_ray.study_report"
    subprocess.run([sys.executable, "-c", code], check=True)
