"""Parts of the HTML page that searches and trainings share."""

import json
from collections.abc import Mapping

import pandas as pd

from zcpt_ray.reports import page
from zcpt_ray.reports.page import PageCode, PageFold, PageTable, PageText


def pairs_part(pairs: pd.DataFrame) -> PageTable:
    """A `paired_table`."""
    return page.table(
        "Test error [%] of the first less the second over seeds that both have, mean [95 % interval]", pairs
    )


def fine_print(config: Mapping[str, object], versions: Mapping[str, str]) -> PageFold:
    """A configuration and the versions of what was used, folded."""
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    return PageFold("Configuration and versions", (PageCode(json.dumps(config, indent=1)), PageText(used)))
