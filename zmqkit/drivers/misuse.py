"""Warns where a program waits for what cannot come: at the place in the program, once.

The warning is Python's own, a RuntimeWarning, so the program decides what becomes of it. The
place is the line that calls zmqkit.
"""

from __future__ import annotations

import builtins
import sys
import warnings

_PACKAGE = "zmqkit."
_ENDS = ("close", "__exit__", "__del__")


def check_loop() -> None:
    """Warn if the calling thread runs an event loop, which a wait here would hold.

    Every wait asks this, so it imports nothing: without asyncio there is no loop. In IPython
    and Jupyter nothing else is to run until a cell ends, although a loop of theirs runs it.
    """
    events = sys.modules.get("asyncio.events")
    if events is None:
        return
    loop = events._get_running_loop()
    if loop is None or type(loop).__module__.startswith(_PACKAGE):
        return
    verb = _place()[1]
    if verb in _ENDS or hasattr(builtins, "__IPYTHON__"):
        return
    said, wait = (
        (f"{verb}()", "`await` it") if not verb.startswith("_") else ("a loop", "`async for`")
    )
    warn(
        f"{said} of a blocking role holds the event loop that runs in this thread; use the "
        f"role of zmqkit.asyncio and {wait}, or a thread: `await asyncio.to_thread(...)`"
    )


def warn(text: str) -> None:
    """Issue a RuntimeWarning at the line of the program that called zmqkit."""
    warnings.warn(text, RuntimeWarning, stacklevel=_place()[0])


def _place() -> tuple[int, str]:
    """Return how far up the program is, for `warnings.warn`, and which verb it called."""
    level, frame, verb = 1, sys._getframe(1), ""
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__")):
        level, verb, frame = level + 1, frame.f_code.co_name, frame.f_back
    return level, verb


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith(_PACKAGE)
