"""The house: who may import whom, one name for one thing, modules of one screenful or few, a light front door."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "zcpt_ray"
MOST_LINES = 300
HEAVY = ("torch", "ray", "pandas", "matplotlib")

VOCABULARY = (
    *("arch", "configs", "devices", "errors", "fit_config", "identity", "keywords", "plugins", "registry"),
    *("resources", "seeding", "train_config", "typed_fields", "versions"),
)
"""Modules that everyone may import, and that import nothing but each other."""
BEFORE_SEARCH = ("storage", "engine", "spaces", "datasets", "proxies", "benchmarks")
RECORDS = ("search.records", "search.run_files", "training.records", "benchmarks.entries")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "storage": (),
    "engine": (),
    "spaces": ("engine",),
    "datasets": ("storage",),
    "proxies": ("engine", "datasets"),
    "benchmarks": ("spaces", "datasets", "storage"),
    "search": BEFORE_SEARCH,
    "training": ("engine", "spaces", "datasets", "storage"),
    "reports": (*RECORDS, "spaces", "storage"),
    "experiments": (*BEFORE_SEARCH, "search", "training", "reports"),
    "distributed": (*BEFORE_SEARCH, "search", "training", "reports", "experiments"),
}
"""What each package may import beside itself and the vocabulary: the rules of CONTRIBUTING.md."""
EVERYTHING = tuple(MAY_IMPORT)
FRONT = ("api", "cli", "registration", "result")
RIM: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FRONT, (*EVERYTHING, *FRONT, "")),
    "__init__": (*EVERYTHING, *FRONT),
    "__main__": ("cli",),
    "jobs": ("cli",),
}
"""What nobody else imports. The empty name is that of the top level, `from zcpt_ray import ...`."""

SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in SOURCES}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in a file, those inside functions and for type checkers too."""
    package = [] if path not in SOURCES else list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # a module of a package, or a name in a module
                name = f"{base}.{alias.name}"
                yield node.lineno, name if name in MODULES else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, name) for name in names if not name.startswith("."))


def own_place(path: Path) -> str:
    """The package or the top-level module that a file belongs to; "jobs" for a job."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "jobs" else parts[1]


def allowed(place: str) -> tuple[str, ...]:
    """What a file of that place may import, as names below zcpt_ray."""
    if place in RIM:
        return (*(() if place == "jobs" else VOCABULARY), *RIM[place])
    return VOCABULARY if place in VOCABULARY else (*VOCABULARY, *MAY_IMPORT[place])


@pytest.mark.parametrize("path", [*SOURCES, *JOBS], ids=shown)
def test_imports_follow_the_rules(path: Path) -> None:
    place = own_place(path)
    assert place in {*VOCABULARY, *MAY_IMPORT, *RIM}, f"{shown(path)}: {place} has no place in the house"
    may = {*allowed(place), place} - {"jobs", "__init__"}
    wrong = []
    for line, name in imported(path):
        top, _, below = name.partition(".")
        if top == PACKAGE and below not in may and not any(below.startswith(f"{other}.") for other in may if other):
            wrong.append(f"{shown(path)}:{line} imports {name}")
        if top == "ray" and place != "distributed":
            wrong.append(f"{shown(path)}:{line} imports {name}, which only distributed may")
    names = ", ".join(sorted(other or PACKAGE for other in may))
    assert not wrong, "\n".join([*dict.fromkeys(wrong), f"of this package {place} may import: {names}"])


def test_every_package_has_a_rule() -> None:
    packages = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    assert packages == {*MAY_IMPORT, "cli"}


def definitions(path: Path) -> Iterator[str]:
    """Public classes and upper-case constants at the top of a module; a type variable is no constant."""
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        if isinstance(node, ast.Assign | ast.AnnAssign):
            if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar":
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper())


def test_one_name_is_one_thing() -> None:
    places = defaultdict(list)
    for path in SOURCES:
        for name in definitions(path):
            places[name].append(shown(path))
    twice = [f"{name} is defined in {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]
    assert not twice, "\n".join(twice)


@pytest.mark.parametrize("path", [*SOURCES, *JOBS], ids=shown)
def test_a_module_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{shown(path)} has {lines} lines; split it below {MOST_LINES}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what a test imports, patches, reads or names that begins with an underscore."""
    tree, ours = tree_of(path), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if f"{base}.{alias.name}".lstrip(".").split(".")[0] == PACKAGE:
                    ours.add(alias.asname or alias.name.split(".")[0])
                    if any(map(is_private, f"{base}.{alias.name}".split("."))):
                        yield node.lineno, f"import of {alias.name} from {base}"
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setattr" | "delattr" | "object"), args=[_, ast.Constant(str(name)), *_]
            ):
                if is_private(name):
                    yield node.lineno, ast.unparse(node)
            case ast.Attribute(attr=name) if is_private(name):
                if ast.unparse(node).split(".")[0] in ours:
                    yield node.lineno, ast.unparse(node)
            case ast.Constant(str(text)):
                for found in re.finditer(rf"\b{PACKAGE}(\.\w+)*\._(?!_)\w+", text):
                    yield node.lineno, found[0]


@pytest.mark.parametrize("path", TESTS, ids=shown)
def test_tests_use_the_public_face(path: Path) -> None:
    wrong = [f"{shown(path)}:{line} reaches for what is private: {text}" for line, text in private_uses(path)]
    assert not wrong, "\n".join(wrong)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    ["import zcpt_ray", "import zcpt_ray.cli", "sys.argv = ['zcpt', '--help']; from zcpt_ray.cli import main; main()"],
    ids=["package", "command", "help"],
)
def test_the_front_door_is_light(code: str) -> None:
    report = f"print('loaded', *(name for name in {HEAVY} if name in sys.modules))"
    printed = run_python(f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code\n{report}")
    assert printed.splitlines()[-1] == "loaded"


def test_a_search_needs_no_ray() -> None:
    """Every module outside distributed is importable, and a search runs, where Ray is not installed."""
    skipped = (f"{PACKAGE}.distributed", f"{PACKAGE}.__main__")
    names = sorted(name for name in MODULES if not name.startswith(skipped))
    run_python(
        f"""
import importlib, sys
sys.modules["ray"] = None
for name in {names}:
    importlib.import_module(name)
from zcpt_ray.configs import SearchConfig
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.resolved import Search
config = SearchConfig(space="toy-chain-1", num_proposals=1, num_validations=1, batch_size=8)
assert run_search_locally(Search.of(config)).best.arch
"""
    )
