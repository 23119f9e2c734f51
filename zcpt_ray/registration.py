"""Adding one's own proxies, orders, data sets, spaces, ... to the tables: from then on their names can be used.

A run is named by what they hold as well, and they travel to Ray's workers, which need none of the user's files.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from zcpt_ray.datasets.base import Dataset
from zcpt_ray.datasets.loading import DATASETS
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.proxies.base import Proxy
from zcpt_ray.registry import register
from zcpt_ray.search.methods import METHODS
from zcpt_ray.search.orders import ORDERS, Order
from zcpt_ray.search.proposing import Method
from zcpt_ray.search.scoring import SCORINGS, Scoring
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.own import check_space

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


def register_proxy(
    name: str | Proxy,
    *,
    needs: tuple[Literal["images", "labels", "gradients"], ...] = ("images",),
    reference: str = "own",
    replace: bool = False,
    **fields: Any,
) -> Any:
    """Make a proxy of a function (net, batch) -> float, greater is better: `@zc.register_proxy("mine")`.

    Or register a `Proxy`. Other arguments are fields of `Proxy`.

    Raises:
        UserError: there is one of that name already, unless `replace`; or it was written without a name.
    """
    if isinstance(name, Proxy):
        if fields or needs != ("images",) or reference != "own":
            raise UserError(f"{name.name!r} is a Proxy already: give it its fields, and register_proxy only replace")
        return register(PROXIES, name, "proxy", replace)
    _require_name(name, "register_proxy")

    def decorate(function: F) -> F:
        _require_call(function, f"proxy {name!r}", "net", "batch")
        register(PROXIES, Proxy(name, (function,), reference, needs=needs, **fields), "proxy", replace)
        return function

    return decorate


def _require_name(name: object, function: str) -> None:
    if not isinstance(name, str):
        raise UserError(f'write @zc.{function}("name"), got {name!r} as the name')


def _require_call(function: Callable[..., Any], what: str, *arguments: str) -> None:
    """See that a function takes these arguments, before it is called in the midst of a search."""
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # some of Python's own do not tell
        return
    except TypeError as error:
        raise UserError(f"{what} must be a function of ({', '.join(arguments)}): {error}") from error


def register_order(name: str | Order, *, replace: bool = False) -> Any:
    """Make an order of a generator function (edges, random): `@zc.register_order("mine")`; or register an `Order`.

    The function yields a tuple of edges to be sent {edge: scores of its ops}, or one edge, which is then decided.

    Raises:
        UserError: there is one of that name already, unless `replace`; or it was written without a name.
    """
    if isinstance(name, Order):
        return register(ORDERS, name, "order", replace)
    _require_name(name, "register_order")

    def decorate(function: F) -> F:
        _require_call(function, f"order {name!r}", "edges", "random")
        if not inspect.isgeneratorfunction(inspect.unwrap(function)):
            raise UserError(f"order {name!r} must be a generator function: it yields edges")
        register(ORDERS, Order(name, function), "order", replace)
        return function

    return decorate


def _require(record: Any, kind: type[R]) -> R:
    if not isinstance(record, kind):
        raise UserError(f"needs a {kind.__name__}, got {record!r}")
    return record


def register_scoring(scoring: Scoring, *, replace: bool = False) -> Scoring:
    """Add an operation scoring function.

    Raises:
        UserError: there is one of that name already, unless `replace`.
    """
    return register(SCORINGS, _require(scoring, Scoring), "scoring", replace)


def register_method(method: Method, *, replace: bool = False) -> Method:
    """Add a way to propose architectures.

    Raises:
        UserError: there is one of that name already, unless `replace`.
    """
    return register(METHODS, _require(method, Method), "method", replace)


def register_dataset(dataset: Dataset, *, replace: bool = False) -> Dataset:
    """Add a data set, such as one that `zc.image_folder` makes of a folder.

    Raises:
        UserError: there is one of that name already, unless `replace`.
    """
    _require_call(_require(dataset, Dataset).read, f"the reader of data set {dataset.name!r}", "folder", "split")
    return register(DATASETS, dataset, "dataset", replace)


def register_space(space: Space, *, replace: bool = False) -> Space:
    """Add a search space, once it is seen to keep what every space has to keep to.

    Raises:
        UserError: there is one of that name already, unless `replace`, or it does not keep the contract.
    """
    check_space(_require(space, Space))  # type: ignore[type-abstract]
    return register(SPACES, space, "space", replace)


def registered_space(space: Space) -> str:
    """The name of a space, which is registered if it is not.

    Raises:
        UserError: as `register_space`.
    """
    return space.name if SPACES.get(space.name) is space else register_space(space).name
