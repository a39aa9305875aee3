"""What a service tells of its methods, to whoever calls the method `zmqkit.methods`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from zmqkit.core.calls.admission import OWN
from zmqkit.roles.handlers import Function, Handler, Handlers

METHODS = f"{OWN}methods"
"""The method that every service has; it takes no arguments and returns a list of dicts.

Each has the keys name, signature, doc (the first line), streams and idempotent.
"""

_CHARS_MAX = 200


def describe_in(handlers: Handlers) -> None:
    """Have the service of these handlers answer `METHODS`."""

    def describe() -> list[dict[str, object]]:
        return [
            _row(name, each, idempotent=handlers.is_idempotent(name))
            for name, each in list(handlers.by_name.items())
            if not name.startswith(OWN)
        ]

    handlers.add(describe, METHODS, idempotent=False, copy=True)


def _row(name: str, handler: Handler, *, idempotent: bool) -> dict[str, object]:
    return {
        "name": name,
        "signature": _shown(_signature, handler.function),
        "doc": _shown(_doc, handler.function),
        "streams": handler.streams,
        "idempotent": idempotent,
    }


class _Bare:
    """An annotation that is text already, and is shown without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _bare(annotation: object) -> object:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _signature(function: Function) -> str:
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=_bare(each.annotation))
        for each in signature.parameters.values()
    ]
    returned = _bare(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def _doc(function: Function) -> str:
    """Return the first line of a function's docstring; that of a class says nothing of it."""
    own = inspect.isroutine(function) or "__doc__" in vars(function)
    return (inspect.getdoc(function) or "").partition("\n")[0] if own else ""


def _shown(
    read: Callable[[Callable[..., object]], str], function: Callable[..., object]
) -> str:
    """Return what can be read of a function, shortened; an empty text if nothing can."""
    try:
        text = read(function)
    except Exception:  # noqa: BLE001 - a function may be anything, and its defaults raise anything
        return ""
    text = text if len(text) <= _CHARS_MAX else f"{text[:_CHARS_MAX]}…"
    return text.encode("utf-8", "backslashreplace").decode()
