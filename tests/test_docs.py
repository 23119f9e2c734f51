"""The documentation: links lead somewhere, commands parse, and Python that is shown runs and prints what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from image_files import smooth, write_image

from zcpt_ray.cli import COMMANDS, mirror
from zcpt_ray.experiments.baselines import SEARCHES
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.scoring import SCORINGS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *TUTORIALS]
MOST_WORDS = 900
WIDEST = 120
"""Characters of a line of prose, as of code; tables and commands are as wide as they must be."""

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SEARCH_JOB = re.compile(r"jobs/(?:\w+_)?search\.py(?: --(?= ))?(.*)")


def shown(page: Path) -> str:
    return page.name


def blocks(page: Path, language: str) -> list[str]:
    """What stands between the fences of a language; "" are those without one."""
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]]", "", code[0]), FENCE.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(page: Path) -> Iterator[str]:
    """The lines of the blocks of commands, each with those that go on with it; and commands within the text."""
    for block in blocks(page, ""):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`(zcpt [^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))


def command_lines() -> list[list[str]]:
    """Every command that the documentation shows: its name and its arguments."""
    found = []
    for page in PAGES:
        for line in shell_lines(page):
            if line.startswith("zcpt "):
                found.append(shlex.split(line, comments=True)[1:])
            elif "python" in line or line.startswith("ray submit"):
                found += [["search", *shlex.split(flags, comments=True)] for flags in SEARCH_JOB.findall(line)]
    return found


def run_python(source: str, *options: str) -> str:
    """What a script prints, in a process of its own and in this folder."""
    Path("session.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *options, "session.py"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_lines_of_prose_are_not_wide(page: Path) -> None:
    lines = FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    assert not [line for line in lines if len(line) > WIDEST and not line.lstrip().startswith("|")]


def test_the_readme_counts_what_there_is() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert f"{len(PROXIES)} proxies, {len(SCORINGS)} operation scorings, {len(ORDERS)} orders" in text
    assert f"the paper's {len(SEARCHES)} searches" in text
    assert not [name for name in PROXIES if f"`{name}`" not in text]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(without_code(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", sorted({*PAGES[1:]} - {*TUTORIALS}), ids=shown)
def test_the_readme_leads_to_each_page(page: Path) -> None:
    assert f"(docs/{page.name}" in README.read_text(encoding="utf-8")


def test_every_page_has_its_place_in_the_site() -> None:
    """`make site` checks the rest: links, headings, and what docstrings say of arguments and errors."""
    placed = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    made = {"index.md", "contributing.md", "changes.md"} | {
        f"reference/{name}.md" for name in ("api", "commands", "configuration")
    }
    assert len(placed) == len(set(placed))
    assert set(placed) == pages | made


def test_the_tutorials_are_listed() -> None:
    listed = LINK.findall((ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [page.name for page in TUTORIALS if page.name != "index.md"]
    assert "(docs/tutorials/index.md)" in README.read_text(encoding="utf-8")


def test_jobs_that_are_named_are_there() -> None:
    names = {name for page in PAGES for name in re.findall(r"jobs/(\w+\.py)", page.read_text(encoding="utf-8"))}
    assert names
    assert not [name for name in names if not (ROOT / "jobs" / name).exists()]


def test_there_are_commands() -> None:
    assert {line[0] for line in command_lines()} >= {"search", "rank", "ablation", "train", "report", "benchmark"}


@pytest.mark.parametrize("line", command_lines(), ids=" ".join)
def test_commands_parse(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their flags are known and have values of the right kind; nothing runs."""
    name, *given = line
    assert name in COMMANDS
    if not given and name in ("mirror", "convert-nasbench201"):  # a command that is only named
        return
    Path("my_proxy.py").touch()
    module = import_module(f"zcpt_ray.cli.{COMMANDS[name][0]}")
    if hasattr(module, "run"):
        monkeypatch.setattr(module, "run", lambda *_: True)
    monkeypatch.setattr("zcpt_ray.cli.speed.restart_with", lambda *_: None)  # it would go on in this process's place
    for benchmark in ("nasbench201", "nasbench101", "nats_size"):
        monkeypatch.setattr(f"zcpt_ray.benchmarks.convert_{benchmark}.convert", lambda *_: ())
    monkeypatch.setattr(mirror, "mirror", lambda *_: 1)
    try:
        module.main(given)
    except SystemExit as ended:
        assert not ended.code  # noqa: PT017  (of --help it is 0)


@pytest.mark.parametrize("where", ["a script", pytest.param("an event loop, with -O", marks=pytest.mark.slow)])
def test_the_session_of_the_readme_prints_what_it_says(where: str) -> None:
    (source,), (output,) = blocks(README, "python"), blocks(README, "text")
    assert "__main__" not in source
    if where == "a script":
        assert run_python(source) == output
    else:
        session = (
            f"import asyncio\n\nasync def session():\n{textwrap.indent(source, '    ')}\n\nasyncio.run(session())\n"
        )
        assert run_python(session, "-O") == output


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if blocks(page, "python")], ids=shown)
def test_the_python_of_a_page_runs(page: Path) -> None:
    """As one script, in a folder with photos and the example of a space; a tutorial prints what it shows."""
    for label in ("cats", "dogs"):
        for index in range(12):
            write_image(Path("photos", label, f"{index}.png"), smooth(index))
    shutil.copy(ROOT / "docs" / "own_space.py", "own_space.py")
    printed = run_python("\n\n".join(blocks(page, "python")))
    assert printed
    if page in TUTORIALS and (said := blocks(page, "text")):
        assert [line.rstrip() for line in printed.splitlines()] == [
            line.rstrip() for text in said for line in text.splitlines()
        ]
