"""Python files of the user's own: plug-ins, and the modules beside them that they import."""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from zcpt_ray.errors import UserError

INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages: what lies there is on every machine of a cluster."""

_loaded: dict[Path, tuple[ModuleType, bytes]] = {}


def load_plugin(place: str | Path, kind: str = "plug-in") -> ModuleType:
    """Run a Python file of the user's, once, and give the module; it may import modules that lie beside it.

    Raises:
        UserError: no such file, it fails, it has changed since it was loaded, or a module beside it cannot travel.
    """
    try:
        path = Path(place).expanduser().absolute()
        found = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{str(place)!r} cannot be a {kind} file: {error}") from error
    if not found:
        raise UserError(f"no {kind} file {path}")
    content = files_digest(path)
    if path in _loaded:
        module, known = _loaded[path]
        if known != content:
            raise UserError(f"{path} has changed since it was loaded; start Python again")
        return module
    _refuse_namesakes(path)
    name = f"zcpt_plugin_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; a {kind} file ends in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # it may do anything
        del sys.modules[name]
        reason = str(error) if isinstance(error, UserError) else repr(error)
        if isinstance(error, SystemExit):
            reason = (
                f"it ends Python (sys.exit, or argparse, with {error.code!r}); what it does as a program belongs below"
                " `if __name__ == '__main__':`"
            )
        raise UserError(f"cannot run the {kind} file {path}: {reason}") from error
    finally:
        sys.path.remove(str(path.parent))
    _loaded[path] = module, content
    return module


def is_own(module: str) -> bool:
    """Whether a module is the user's: no part of Python, of this package or of an installed one."""
    if module == "__main__" or module not in sys.modules:
        return True
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or module.partition(".")[0] == "zcpt_ray":
        return False
    path = Path(file).resolve()
    python = Path(sysconfig.get_paths()["stdlib"]).resolve()
    return not path.is_relative_to(python) and not set(INSTALLED) & set(path.parts)


def file_of(module: str) -> Path | None:
    """Where an imported module of the user's lies; None for a script that runs, or a notebook."""
    file = None if module == "__main__" else getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def files_digest(path: Path) -> bytes:
    """Of a file and what it imports from its folder."""
    files = (part for name, file in sorted(neighbours(path).items()) for part in (name.encode(), file.read_bytes()))
    digest = hashlib.blake2b(digest_size=8)
    for part in (path.read_bytes(), *files):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def neighbours(path: Path) -> dict[str, Path]:
    """The modules, by name, that a file imports from its folder or package, and those that they import from theirs.

    Raises:
        UserError: one is imported inside a function, which a worker that has no such file could not do.
    """
    found: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        for name, place in _imported(file):
            if name not in found and place != path:
                found[name] = place
                waiting.append(place)
    return found


def _imported(file: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of what a file imports from its folder or package."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), file.name)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{file} is no Python file: {error}") from error
    for node in ast.walk(tree):
        for name, place in _resolved(node, file):
            if node not in tree.body and not _is_conditional(tree, node):
                raise UserError(
                    f"{file} imports {name} inside a function, which Ray's workers, that have no such file, cannot do; "
                    "import it at the top of the file"
                )
            yield name, place


def _is_conditional(tree: ast.Module, node: ast.AST) -> bool:
    """Whether a statement runs with the module, if only under a condition."""
    blocks = [block for block in tree.body if isinstance(block, ast.If | ast.Try | ast.With)]
    return any(inner is node for block in blocks for inner in ast.walk(block))


def _resolved(node: ast.AST, file: Path) -> Iterator[tuple[str, Path]]:
    """What an import statement takes from the folder or the package that `file` lies in."""
    package = file.parent
    parts: list[str] = []
    while (package / "__init__.py").is_file():
        parts.insert(0, package.name)
        package = package.parent
    if isinstance(node, ast.Import):
        dotted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        above = parts[: len(parts) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        dotted = [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
    else:
        return
    for name in dotted:
        for root in dict.fromkeys((package, file.parent)):
            place = root.joinpath(*name.split("."))
            for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                if candidate.is_file():
                    yield name, candidate


def _refuse_namesakes(path: Path) -> None:
    """Two plug-ins whose neighbours have one name would get each other's.

    Raises:
        UserError: a module of that name is loaded from elsewhere.
    """
    for name, file in neighbours(path).items():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and (loaded is None or Path(loaded).resolve() != file.resolve()):
            raise UserError(f"{path} imports {name} ({file}), but {loaded or name} is loaded already; rename that file")
