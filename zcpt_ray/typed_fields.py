"""Frozen dataclasses whose fields hold what they declare, whoever fills them."""

import dataclasses
import numbers
import os
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin

import numpy as np

from zcpt_ray.errors import UserError

FIELD_KINDS = {str: "a text", bool: "True or False", int: "a whole number", float: "a number"}
"""What the fields of a configuration may hold, as messages say it."""


def take_as_declared(config: Any) -> None:
    """Have each field hold its declared type: numbers of numpy become Python's, paths become texts.

    Raises:
        UserError: a value of another kind, such as 3.0 for a whole number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if get_origin(field.type) is tuple:
            continue
        kinds = get_args(field.type) or (field.type,)
        if value is None and NoneType in kinds:
            continue
        object.__setattr__(config, field.name, _as_kind(field.name, value, kinds[0]))


def _as_kind(name: str, value: Any, kind: Any) -> Any:
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if kind is bool and isinstance(value, bool | np.bool_):
        return bool(value)
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if kind not in FIELD_KINDS:
        if isinstance(value, kind):
            return value
        raise UserError(f"{name} must be a {kind.__name__}, got {value!r}")
    raise UserError(f"{name} must be {FIELD_KINDS[kind]}, got {value!r}")


def check_least(config: object, least: Mapping[str, float]) -> None:
    """See that fields are as large as `least` says.

    Raises:
        UserError: one is not.
    """
    for name, bound in least.items():
        value = getattr(config, name)
        if not value >= bound:
            raise UserError(f"{name} must be at least {bound:g}, got {value}")
