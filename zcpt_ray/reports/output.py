"""Where the tables and figures of a job go: a folder that keeps them, and a console that shows the tables."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.tables import write_table
from zcpt_ray.reports.terminal import print_table
from zcpt_ray.storage.paths import AnyPath


@dataclass(frozen=True)
class Output:
    """Saves tables and figures in the folder `out`, and prints the tables."""

    out: AnyPath
    console: Console

    def table(self, table: pd.DataFrame, name: str, title: str) -> None:
        """Save a table under its name, as .csv, .parquet, .md and .tex, and print it."""
        write_table(table, self.out / name)
        print_table(self.console, table, title)

    def figure(self, figure: Figure, name: str) -> None:
        """Save a figure under its name, as .png and .svg."""
        save_figure(figure, self.out / name)
