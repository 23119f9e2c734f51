"""What a run is told from others by: its configuration, and what objects of the user's own hold.

A proxy, say, is made of functions and classes that other machines may not have. So a run is named by a digest of their
code too (`content_digest`), and the modules that they come from are pickled by value (`own_modules`).
"""

import copy
import copyreg
import dataclasses
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from zcpt_ray.configs import AS_THEY_ARE, SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.plugins import file_of, files_digest, is_own, neighbours
from zcpt_ray.train_config import TrainConfig

LATER_FIELDS = {
    "images": AS_THEY_ARE,
    "lanes": "together",
    "aggregation": "log-rank",
    "scope": "",
    "confidence": 0.0,
    **{"finalists": 0, "finalist_epochs": 12, "finalist_source": "training", "finalist_images": 0},
    "finalist_early_stopping": False,
    **{"validation": "full", "error": 0.001, "validation_proxy": "", "validation_weights": 1, "neighbours": 0},
    "proposal_weights": 1,
    **dict.fromkeys(("max_memory_mb", "max_file_mb", "max_latency_ms", "max_energy_mj")),
    "max": (),
    "target": "",
    **{"ema": 0.0, "mixup": 0.0, "validation_share": 0.0, "patience": 0},
}
"""Fields that configurations once did not have, with what they then stood for."""
_read: dict[int, tuple[object, bytes]] = {}
"""By id of a module's spec, which a reload makes anew: that spec, and what the module's files held."""
_first_seen: dict[int, tuple[object, Any]] = {}
"""By id of an object: it, kept alive, and what it held."""


def identity(config: SearchConfig | TrainConfig, own: Mapping[str, str]) -> dict[str, Any]:
    """What a run directory is claimed with: the configuration and, by kind and name, what the user's own parts hold."""
    named = dataclasses.asdict(config)
    named.pop("device_table", None)  # wherever it lies: what it holds is among `own`
    for name, default in LATER_FIELDS.items():  # as in runs from before they were there
        if name in named and getattr(config, name) == default:
            del named[name]
    return named | ({"own": dict(own)} if own else {})


def run_name(config: SearchConfig | TrainConfig, own: Mapping[str, str] = MappingProxyType({})) -> str:
    """A short digest of `identity`: the name of a run."""
    return digest(identity(config, own))


def digest(identity: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that stand for names and numbers."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()


def content_digest(record: object) -> str:
    """16 hexadecimal digits that stand for what `record` holds: numbers, texts, and the user's own code behind it.

    Of a module with a file that is the whole file and what it imports from its folder; of a script or a notebook the
    functions and classes that are used, as they are now. Code of installed packages counts by its name. Lists,
    dictionaries, arrays and objects count as they were when they were first seen: they may grow as they are used.

    Raises:
        UserError: a module beside one of the user's cannot travel to Ray's workers, or has changed since it was loaded.
    """
    return _Walk().digest(record).hex()


def own_modules(record: object) -> list[ModuleType]:
    """The user's own modules, other than the script that runs, that `record` is made of.

    Raises:
        UserError: as `content_digest`.
    """
    walk = _Walk()
    walk.digest(record)
    return list(walk.modules.values())


class _Walk:
    """Goes through a record, the functions and classes in it, and the code of the user's that these use."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        self.known: dict[int, tuple[object, bytes]] = {}  # keeps objects alive, so that ids stay theirs
        self.entered: set[int] = set()
        self.files: dict[str, bytes] = {}

    def digest(self, value: object) -> bytes:
        """Of a value and all that it is made of: 8 bytes."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | Path):
            return _hashed(f"{type(value).__name__} {value!r}")
        if id(value) in self.known:
            return self.known[id(value)][1]
        if id(value) in self.entered:  # a function that calls itself, say
            return _hashed("above")
        self.entered.add(id(value))
        found = self._digest_parts(value)
        self.entered.remove(id(value))
        self.known[id(value)] = value, found
        return found

    def _digest_parts(self, value: Any) -> bytes:
        if isinstance(value, tuple):
            return self._joined("tuple", *value)
        if isinstance(value, ModuleType):
            return self._module(value.__name__)
        if isinstance(value, type):
            return self._code(value)
        if isinstance(value, FunctionType):
            cells = map(_cell_content, value.__closure__ or ())
            return _hashed(self._code(value), self._joined("", value.__defaults__, value.__kwdefaults__, *cells))
        if isinstance(value, MethodType):
            return self._joined("method", value.__self__, value.__func__)
        if isinstance(value, BuiltinFunctionType):
            return self._joined(f"{value.__module__}.{value.__qualname__}", value.__self__)
        if id(value) not in _first_seen:
            _first_seen[id(value)] = value, _content(value)
        content = _first_seen[id(value)][1]
        if isinstance(content, frozenset):
            return _hashed("set", *sorted(map(self.digest, content)))
        return self._joined("object", type(value), *content)

    def _joined(self, kind: str, *parts: object) -> bytes:
        return _hashed(kind, *map(self.digest, parts))

    def _code(self, code: FunctionType | type) -> bytes:
        """A function or a class; if it is the user's, what is written there."""
        name = f"{code.__module__}.{code.__qualname__}"
        if not is_own(code.__module__):
            return _hashed(name)
        if file_of(code.__module__):
            return _hashed(code.__qualname__, self._module(code.__module__))
        functions = [code] if isinstance(code, FunctionType) else _functions_of(code)
        try:
            text = inspect.getsource(code)
        except (OSError, TypeError):  # typed into an interpreter that keeps no text
            text = repr([name, *(_instructions(function.__code__) for function in functions)])
        used = {
            name: function.__globals__[name]
            for function in functions
            for name in sorted(_names(function.__code__))
            if name in function.__globals__
        }
        bases = code.__bases__ if isinstance(code, type) else ()
        return _hashed(text, self.digest(used), self.digest(bases))

    def _module(self, name: str) -> bytes:
        """Its name; if it is the user's, also its file and those of its folder that it imports."""
        path = file_of(name)
        if path is None or not is_own(name):
            return _hashed(name)
        if name not in self.files:
            for own in (name, *neighbours(path)):
                if own in sys.modules:
                    self.modules[own] = sys.modules[own]
            self.files[name] = files_digest(path)
            loaded = sys.modules[name].__spec__ or sys.modules[name]
            if _read.setdefault(id(loaded), (loaded, self.files[name]))[1] != self.files[name]:
                raise UserError(f"{path}, or what it imports, has changed since it was loaded; start Python again")
        return self.files[name]


def _hashed(*parts: str | bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.digest()


def _cell_content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _content(value: Any) -> Any:
    """What an object is made of, as pickle would store it: a set's members, or a sequence of parts."""
    if isinstance(value, set | frozenset):
        return frozenset(value)
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list):
        return list(value)
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):  # an array
        return str(value.dtype), value.shape, _hashed(value.tobytes())
    if hasattr(value, "dtype") and hasattr(value, "detach"):  # a tensor
        flat = value.detach().cpu().contiguous().flatten().view(sys.modules["torch"].uint8)
        return str(value.dtype), tuple(value.shape), _hashed(flat.numpy().tobytes())
    reduce = copyreg.dispatch_table.get(type(value))
    parts: Any
    try:
        parts = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:  # a lock, say: refused where it has to travel
        return ()
    if isinstance(parts, str):  # something global, such as a data type
        return getattr(value, "__module__", ""), parts
    function, arguments, *more = parts
    state, items, pairs = (*more, None, None, None)[:3]
    return function, arguments, copy.copy(state), list(items or ()), list(pairs or ())


def _functions_of(cls: type) -> list[FunctionType]:
    """Of its methods, properties included."""
    found = []
    for value in vars(cls).values():
        parts = (value, *(getattr(value, part, None) for part in ("__func__", "fget", "fset", "func")))
        found += [part for part in parts if isinstance(part, FunctionType)]
    return found


def _names(code: CodeType) -> set[str]:
    """Global names that a function uses, its inner functions included."""
    inner = (_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


def _instructions(code: CodeType) -> list[object]:
    consts = [_instructions(const) if isinstance(const, CodeType) else const for const in code.co_consts]
    return [code.co_code, consts, code.co_names]
