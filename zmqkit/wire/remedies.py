"""What to send in place of a value that cannot travel.

A remedy is a Python expression, in which `it` is the value. Types are known by their names, or
by what their classes have: none of the modules that define them is imported here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Set

ALLOWED = "None, bool, int, float, str, bytes, list, tuple, dict or an aware datetime"

_TEXT = "str(it)"
_LIST = "list(it)"

_PLAIN_KINDS = frozenset("biufSU")
"""What numpy calls the kinds of scalars that Python has, too."""

_MARKS = (
    ("model_dump", 'it.model_dump(mode="json")'),  # pydantic
    ("__dataclass_fields__", "dataclasses.asdict(it)"),
    ("__struct_fields__", "msgspec.to_builtins(it)"),
    ("__attrs_attrs__", "attrs.asdict(it)"),
    ("to_pydatetime", "it.to_pydatetime()"),  # pandas
    ("tolist", "it.tolist()"),  # arrays of all kinds
    ("__fspath__", _TEXT),
)
"""What the classes of a kind of values have, and the remedy. The first that fits counts."""

_NAMES = {
    "decimal.Decimal": _TEXT,
    "fractions.Fraction": _TEXT,
    "ipaddress._IPAddressBase": _TEXT,
    "uuid.UUID": _TEXT,
    "datetime.datetime": "datetime.fromisoformat(it.isoformat())",
    "datetime.date": "it.isoformat()",
    "datetime.time": "it.isoformat()",
    "datetime.timedelta": "it.total_seconds()",
    "collections.deque": _LIST,
    "BaseException": "repr(it)",
    "bytearray": "bytes(it)",
    "complex": "[it.real, it.imag]",
    **{each: f"{each}(it)" for each in ("bytes", "dict", "float", "int", "str", "tuple")},
    **dict.fromkeys(("frozenset", "list", "range", "set"), _LIST),
}
"""The remedy by the name of a class, for the values of that class and of those below it."""

_PROTOCOLS = ((Mapping, "dict(it)"), (Set, _LIST), (Iterator, _LIST), (Awaitable, "await it"))


def named(kind: type) -> str:
    """Return what to call a type: with its module, unless that is Python's or the program's."""
    module = kind.__module__.partition("._")[0]  # `pathlib._local` in Python 3.13
    own = module in ("builtins", "__main__")
    return kind.__qualname__ if own else f"{module}.{kind.__qualname__}"


def remedy_of(value: object) -> str:
    """Return the expression to send instead of this value; an empty text if none is known."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "numpy":
        return _of_numpy(value)
    if _is_enum(kind):
        return "it.value"
    for mark, remedy in _MARKS:
        if hasattr(kind, mark):
            return remedy
    for each in kind.__mro__:
        if named(each) in _NAMES:
            return _NAMES[named(each)]
    return next((remedy for known, remedy in _PROTOCOLS if isinstance(value, known)), "")


def key_remedy_of(key: object) -> str:
    """Return the expression to use as a key instead of this one."""
    if _is_enum(type(key)):
        return "it.value"
    if type(key).__module__.partition(".")[0] == "numpy":
        return _of_numpy(key)
    return remedy_of(key) if isinstance(key, bytes) else _TEXT


def _is_enum(kind: type) -> bool:
    return any(named(each) == "enum.Enum" for each in kind.__mro__)


def _of_numpy(value: object) -> str:
    """Return the remedy for a scalar or an array of numpy.

    What `item` returns is again one of numpy for a number that Python does not have, and has no
    time zone for a point in time.
    """
    if getattr(value, "shape", None) != () or not hasattr(type(value), "item"):
        return "it.tolist()" if hasattr(type(value), "tolist") else ""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "c":
        return "[float(it.real), float(it.imag)]"
    if type(value).__name__ == "longdouble":
        return "float(it)"
    return "it.item()" if kind in _PLAIN_KINDS else _TEXT
