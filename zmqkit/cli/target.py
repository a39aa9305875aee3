"""Find what `zmqkit serve` serves, and the worker that `zmqkit work` runs.

What is served is a module's public functions, or an object's methods.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.roles.handlers import while_importing

Function = Callable[..., object]
_DATA = (
    str, bytes, bytearray, memoryview, int, float, complex, list, tuple, dict, set, frozenset,
    type(None),
)  # fmt: skip
"""Types of plain data. Nobody means to serve their methods."""

AnyService = zmqkit.Service | zmqkit_asyncio.Service
AnyWorker = zmqkit.Worker | zmqkit_asyncio.Worker


@dataclass(slots=True)
class Target:
    """A name to serve under and the functions behind it, or a service that exists already."""

    name: str
    methods: dict[str, Function]
    service: AnyService | None = None

    @property
    def waits(self) -> bool:
        """Whether the target needs an event loop: one of its functions is `async def`."""
        functions = self.methods.values()
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in functions
        )


def load(text: str) -> Target:
    """Import `MODULE[:OBJECT]` and return what can be served; MODULE may be a file's path.

    Raises UsageError if it is not there or has nothing to serve, and ZmqkitError if the module
    itself fails.
    """
    name, colon, path = text.partition(":")
    found: object = _module(name)
    if path:
        for part in path.split("."):
            if not hasattr(found, part):
                raise UsageError(f"{name!r} has no {path!r}; there are {_some(found)}")
            found = getattr(found, part)
    elif colon:
        raise UsageError(f"{text!r} names no object; leave out the colon or add a name")
    if isinstance(found, zmqkit.Service | zmqkit_asyncio.Service):
        return Target(found.name, {}, found)
    if type(found) in _DATA:
        remedy = "name a function, an object with methods, or a module"
        raise UsageError(f"{text!r} is plain data, of type {type(found).__name__}; {remedy}")
    label = (path or Path(name.removesuffix(".py")).name).rpartition(".")[2]
    methods = dict(methods_of(found, label))
    if not methods:
        raise UsageError(f"{text!r} has no public functions to serve")
    return Target(label, methods)


def load_worker(text: str) -> AnyWorker:
    """Import `MODULE:WORKER` and return the worker; MODULE may be the path of a file.

    Raises UsageError if it is not there or is no worker, and ZmqkitError if the module itself
    fails.
    """
    name, _, path = text.rpartition(":")
    module = _module(name)
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if isinstance(found, AnyWorker):
        return found
    workers = [key for key, value in vars(module).items() if isinstance(value, AnyWorker)]
    there = f"there are {', '.join(workers)}" if workers else "make one there"
    if found is None:
        raise UsageError(f"{name!r} has no worker {path!r}; {there}")
    raise UsageError(f"{text!r} is a {type(found).__name__} and no zmqkit.Worker; {there}")


def _module(text: str) -> ModuleType:
    """Return the module of this name, or the one in the file at this path."""
    if not text.endswith(".py"):
        return _import(text)
    file = Path(text).resolve()
    if not file.is_file():
        raise UsageError(f"there is no file {text!r}; name one that is there, or a module")
    if not file.stem.isidentifier():
        raise UsageError(f"{text!r} cannot be imported; rename it to letters, digits and _")
    sys.path.insert(0, str(file.parent))
    module = _import(file.stem)
    if Path(getattr(module, "__file__", None) or "").resolve() != file:
        raise UsageError(f"another module is called {file.stem!r}; rename the file {text!r}")
    return module


def _import(name: str) -> ModuleType:
    """Return the module, by its name.

    The current directory is searched first, unless sys.path has it already.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name!r} is not a module's name; give one such as shop, or shop.py")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with while_importing(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            remedy = "name one that is installed or in the current directory, or a file"
            raise UsageError(f"there is no module {name!r}; {remedy}") from error
        raise ZmqkitError(f"importing {name!r} failed: {error}; install it") from error
    except UsageError as error:
        raise UsageError(f"importing {name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        raise ZmqkitError(f"importing {name!r} failed: {kind}: {error}; mend it") from error


def methods_of(found: object, label: str) -> Iterator[tuple[str, Function]]:
    """Yield name and function of each public function of a module or method of an object.

    A function yields itself, under `label`. A class is called, and the object's methods count.
    """
    if inspect.ismodule(found):
        yield from _of_module(found)
    elif inspect.isclass(found):
        yield from _of_object(_instance(found))
    elif inspect.isroutine(found):
        yield label, found
    else:
        yield from _of_object(found)


def _of_module(module: ModuleType) -> Iterator[tuple[str, Function]]:
    """Yield the functions that `__all__` lists.

    Without it, yield those that the module defines.
    """
    listed = getattr(module, "__all__", None)
    for name in dir(module) if listed is None else listed:
        each = getattr(module, name, None)
        ours = listed is not None or getattr(each, "__module__", None) == module.__name__
        if ours and not name.startswith("_") and callable(each) and not inspect.isclass(each):
            yield name, each


def _of_object(found: object) -> Iterator[tuple[str, Function]]:
    """Yield an object's methods. Properties are left out, since looking at one runs it."""
    for name in dir(found):
        if name.startswith("_") or isinstance(inspect.getattr_static(found, name), property):
            continue
        each = getattr(found, name, None)
        if callable(each) and not inspect.isclass(each):
            yield name, each


def _instance(kind: type) -> object:
    try:
        return kind()
    except Exception as error:
        remedy = "serve an object of it that the module makes"
        raise UsageError(f"{kind.__name__}() failed: {error}; {remedy}") from error


def _servable(found: object) -> Iterator[str]:
    """Yield the names of an object's methods, or of a module's functions, classes and objects.

    What a module imports is left out, unless `__all__` lists it. So are plain data and other
    objects of types of the standard library.
    """
    if not inspect.ismodule(found):
        yield from (name for name, _ in _of_object(found))
        return
    listed = getattr(found, "__all__", None)
    for name in dir(found) if listed is None else listed:
        each = getattr(found, name, None)
        if callable(each):
            ours = listed is not None or getattr(each, "__module__", None) == found.__name__
        else:
            # Whether the module made this object or imported it, nothing tells.
            library = type(each).__module__.partition(".")[0]
            ours = library not in sys.stdlib_module_names
        if ours and not name.startswith("_"):
            yield name


def _some(found: object) -> str:
    """Return a few names that can be served, to help a user who mistyped one."""
    names = sorted(_servable(found))
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "") or "none"
