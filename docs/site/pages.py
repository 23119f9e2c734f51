"""What the site has beside the pages of docs/: its home, commands, API and configuration, made at each build.

MkDocs calls `on_files` and `on_page_markdown` (mkdocs.yml names this file as a hook).
"""

import contextlib
import io
import os
from pathlib import Path
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import zcpt_ray as zc
from zcpt_ray.cli import COMMANDS, overview
from zcpt_ray.cli import main as zcpt

ROOT = Path(__file__).parents[2]
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Files of the repository that are pages of the site."""
COPIED = ("cluster.yaml", "CITATION.cff", "LICENSE")
"""Files of the repository that pages link to."""
CONFIGURATIONS = ("SearchConfig", "SupernetTraining", "ImageOptions", "TrainConfig", "FitConfig")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    places = MOVED | {name: name for name in COPIED}
    made = {place: (ROOT / name).read_text(encoding="utf-8") for name, place in places.items()}
    made |= {"reference/commands.md": commands(), "reference/api.md": api(), "reference/configuration.md": fields()}
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links between files of the repository as links between pages of the site."""
    for name, place in MOVED.items():
        markdown = markdown.replace(f"](../{name}", f"]({place}").replace(f"]({name}", f"]({place}")
    return markdown.replace("](docs/", "](") if page.file.src_uri in MOVED.values() else markdown


def commands() -> str:
    """The help of every command."""
    os.environ["COLUMNS"] = "84"  # as wide as the page
    parts = [f"# Commands\n\n```text\n{overview()}\n```\n"]
    for name, (_, summary) in COMMANDS.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            zcpt([name, "--help"])
        parts.append(f"## zcpt {name}\n\n{summary}.\n\n```text\n{printed.getvalue().strip()}\n```\n")
    return "\n".join(parts)


def api() -> str:
    """Everything that `import zcpt_ray as zc` gives, but for configurations."""
    given = [name for name in zc.__all__ if callable(getattr(zc, name)) and name not in CONFIGURATIONS]
    names = sorted(given, key=lambda name: (name[0].isupper(), name))  # functions first
    return "# Python\n\nAfter `import zcpt_ray as zc`.\n\n" + "\n\n".join(map(documented, names))


def fields() -> str:
    """The dataclasses that hold what is set."""
    return "# Configuration\n\nEvery field is a flag of the commands too, as `--num-proposals`.\n\n" + "\n\n".join(
        map(documented, CONFIGURATIONS)
    )


def documented(name: str) -> str:
    """What mkdocstrings makes of the docstrings of a name of the package."""
    found = getattr(zc, name)
    package = isinstance(found, ModuleType)  # zc.search is one that can be called
    place = f"zcpt_ray.api.{name}" if package else f"{found.__module__}.{found.__qualname__}"
    return f"::: {place}\n    options:\n      heading: zc.{name}\n      toc_label: {name}"
