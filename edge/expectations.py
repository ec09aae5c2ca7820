"""What the annotations of a setting ask for, checked and in words."""

from __future__ import annotations

from typing import Any, Optional, Union

import msgspec
from msgspec import inspect

_NAMES: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.FloatType: "a number",
    inspect.IntType: "a whole number",
    inspect.StrType: "text",
    inspect.StructType: "keys with values",
}


def unmet(value: object, kind: Any) -> Optional[str]:
    """What a value should have been, or None when it is that.

    Args:
        value: as it came from a document or from Python.
        kind: a type with `msgspec.Meta`; a description there is taken for the words.
    """
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, SystemError):  # the latter is how older ones refuse an immense integer
        return in_words(kind)
    return None


def in_words(kind: Any) -> str:
    """What a type and its bounds allow: "a whole number from 1 to 65535, or null"."""
    return _words(inspect.type_info(kind))


def _words(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        described = (info.extra_json_schema or {}).get("description")
        return str(described) if described else _words(info.type)
    if isinstance(info, inspect.UnionType):
        others = [_words(each) for each in info.types if not isinstance(each, inspect.NoneType)]
        return " or ".join(others) + (", or null" if len(others) < len(info.types) else "")
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        return _NAMES[type(info)] + _bounds(info)
    if isinstance(info, inspect.LiteralType):
        return " or ".join(str(value) for value in info.values)
    return _list(info) if isinstance(info, (inspect.VarTupleType, inspect.TupleType)) else _NAMES[type(info)]


def _list(info: Union[inspect.VarTupleType, inspect.TupleType]) -> str:
    if isinstance(info, inspect.VarTupleType):
        return f"a list, each item {_words(info.item_type)}"
    return f"a list of {len(info.item_types)} values"


def _bounds(info: Union[inspect.IntType, inspect.FloatType]) -> str:
    if info.ge is None:
        return ""
    return f" of at least {_number(info.ge)}" if info.le is None else f" from {_number(info.ge)} to {_number(info.le)}"


def _number(bound: float) -> str:
    return str(int(bound) if bound == int(bound) else bound)
