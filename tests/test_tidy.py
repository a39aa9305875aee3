"""The rules of this code that can be checked by reading it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "zmqkit"
FOLDERS = ("zmqkit", "devices", "examples", "tests", "benchmarks")

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

ERRORS = {
    "AddressTaken", "BadArguments", "Busy", "CallCancelled", "CallTimeout", "ConfigError",
    "Discard", "JournalError", "NoMethod", "NoService", "PeerError", "PeerLost",
    "QueueFull", "RemoteError", "Retry", "UnknownRequest", "UsageError", "ZmqkitError",
}  # fmt: skip
ROLES = (
    "BoundClient", "Client", "Publisher", "Pusher", "Service", "Sink", "Subscriber", "Ticket",
    "Worker",
)  # fmt: skip
PUBLIC = {
    *ERRORS, *ROLES, "Answer", "Change", "CurrentTask", "Gap", "History", "Mapped", "Message",
    "Request", "Result", "Stream", "Submitted", "current_request", "current_task", "watch",
}  # fmt: skip

# What each layer may import beside itself.
BASE = {"errors"}
MODEL = BASE | {"model"}
WIRE = MODEL | {"wire"}
DRIVERS = WIRE | {"core", "links", "disk", "discovery"}
NODE = DRIVERS | {"drivers"}
ROLE_LAYER = NODE | {"node"}
LAYERS = {
    "errors": set(),
    "model": BASE,
    "wire": MODEL,
    "core": WIRE,
    "links": WIRE,
    "disk": WIRE,
    "discovery": WIRE,
    "drivers": DRIVERS,
    "node": NODE,
    "roles": ROLE_LAYER,
    **dict.fromkeys(("stores", "device", "doctor"), ROLE_LAYER | {"roles"}),
    "cli": ROLE_LAYER | {"roles", "device", "doctor"},
}
# These may import everything, and nothing imports them.
ABOVE_ALL = ("simulation", "testing")
# Modules at the top of the package that do not bear their layer's name.
TOP = {
    "__init__": "roles",
    "__main__": "cli",
    "asyncio": "roles",
    "bench": "cli",
    "blocking": "roles",
    "demo": "cli",
    "environment": "model",
    "limits": "model",
    "types": "model",
}

# How often product code may reach for what is private to another class.
REACHES_MAX = 15

PURE_LAYERS = ("errors", "model", "wire", "core")

# fmt: off
IMPURE_MODULES = {
    "asyncio", "concurrent", "fcntl", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "uuid", "zeroconf", "zmq",
}
# fmt: on
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}
CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")

# The classes of characters keep this file from matching itself.
FORBIDDEN = re.compile(
    r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b|Not[I]mplementedError|[/](home|root)/"
    r"|import (p[i]ckle|m[a]rshal|sh[e]lve)|from (p[i]ckle|m[a]rshal|sh[e]lve)"
    r"|mark\.s[k]ip\b|unittest[.]mock"
)
TEXTS = {".cfg", ".ini", ".md", ".py", ".toml"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    """Each Python file below these folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Each node of the file's syntax tree."""
    return tuple(ast.walk(tree(path)))


def at(path: Path, node: ast.AST) -> str:
    """Where the node stands, as editors understand it."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@cache
def functions(path: Path) -> tuple[Function, ...]:
    """Each function of the file, nested ones and methods included."""
    return tuple(node for node in nodes(path) if isinstance(node, Function))


def public_objects(parent: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Each public class and function, and the public methods of its public classes."""
    for node in parent.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_objects(node)


def layer(module: str) -> str:
    """The layer that a module of the package belongs to: `zmqkit.core.line` is of `core`."""
    name = module.split(".")[1] if "." in module else "__init__"
    return "model" if name.endswith("_limits") else TOP.get(name, name)


def module_name(path: Path) -> str:
    """The dotted name under which the file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST) -> list[str]:
    """The modules that an import names: `from zmqkit import x` may name zmqkit.x."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom) or node.module is None:
        return []
    if node.module == "zmqkit":
        return [
            f"zmqkit.{alias.name}" if is_module(alias.name) else "zmqkit"
            for alias in node.names
        ]
    return [node.module]


def is_module(name: str) -> bool:
    """Whether the package has a module or folder of this name at its top."""
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


def imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Each import of the file with the module it names, those inside functions included."""
    for node in nodes(path):
        for name in imported(node):
            yield node, name


def typing_only(path: Path) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING:`: it names types and runs nothing."""
    return {
        inner
        for node in nodes(path)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def test_modules_fit_their_limit() -> None:
    lines = {path: path.read_text().count("\n") for path in modules(*FOLDERS)}
    assert not {at(path, tree(path)): n for path, n in lines.items() if n > MODULE_LINES_MAX}


def test_functions_fit_a_screen() -> None:
    assert not [
        f"{at(path, node)} {node.name}: {length} lines"
        for path in modules(*FOLDERS)
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in modules("zmqkit")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_imports_within_a_folder_make_no_circle() -> None:
    """Not even those that only name types, but for folders whose classes know each other."""
    folders = {path.parent for path in modules("zmqkit")} - {
        PACKAGE, PACKAGE / "asyncio", PACKAGE / "blocking", PACKAGE / "simulation",
    }  # fmt: skip
    for folder in folders:
        paths = {module_name(path): path for path in folder.glob("*.py")}
        graph = {
            name: {used for _, used in imports(path) if used in paths and used != name}
            for name, path in paths.items()
        }
        assert [*TopologicalSorter(graph).static_order()]


def test_every_module_has_a_layer() -> None:
    known = {*LAYERS, *ABOVE_ALL}
    assert not [
        str(path.relative_to(ROOT))
        for path in modules("zmqkit")
        if layer(module_name(path)) not in known
    ]


def test_imports_point_down_the_layers() -> None:
    wrong = []
    for path in modules("zmqkit"):
        own = layer(module_name(path))
        if own in ABOVE_ALL:
            continue
        for node, name in imports(path):
            if name.split(".")[0] != "zmqkit":
                continue
            if layer(name) not in LAYERS[own] | {own}:
                wrong.append(f"{at(path, node)} {own} imports {name}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph()) == []


def import_graph() -> dict[str, list[str]]:
    """The modules of the package that each of them imports, wherever in it, for types too."""
    paths = {module_name(path): path for path in modules("zmqkit")}
    return {
        own: sorted({name for node in nodes(path) for name in named(node, paths)} - {own})
        for own, path in paths.items()
    }


def named(node: ast.AST, known: Collection[str]) -> list[str]:
    """Those of the known modules that an import names; `from a import b` may name a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in known]
    if not isinstance(node, ast.ImportFrom) or node.module not in known:
        return []
    inner = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name in known else node.module for name in inner]


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """Each largest set of modules that lead to each other."""
    reached = {module: reachable(graph, module) for module in graph}
    found = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
        if module in reached[module]
    }
    return sorted(map(list, found))


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    """Where imports lead from a module."""
    found: set[str] = set()
    left = [*graph[start]]
    while left:
        if (module := left.pop()) not in found:
            found.add(module)
            left += graph[module]
    return found


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, [["b", "c"]]),
        ({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["d2"], "d2": ["d"]},
         [["a", "b", "c"], ["d", "d2"]]),
    ],
)  # fmt: skip
def test_each_circle_is_found(graph: dict[str, list[str]], found: list[list[str]]) -> None:
    assert circles(graph) == found


def test_few_reach_for_what_is_private_to_another_class() -> None:
    found = [
        f"{at(path, node)} {ast.unparse(node)}"
        for path in modules("zmqkit")
        if layer(module_name(path)) not in ABOVE_ALL and "demo" not in path.parts
        for node in reaches(tree(path), frozenset())
    ]
    assert len(found) <= REACHES_MAX, found


def reaches(node: ast.AST, own: frozenset[str]) -> Iterator[ast.Attribute]:
    """Where an attribute is looked for that is private, and none of the class's own."""
    if isinstance(node, ast.ClassDef):
        own |= {each.name for each in ast.walk(node) if isinstance(each, Function)}
        own |= {each.attr for each in ast.walk(node) if of_self(each)}
    for child in ast.iter_child_nodes(node):
        yield from reaches(child, own)
        if isinstance(child, ast.Attribute) and not of_self(child):
            private = child.attr.startswith("_") and not child.attr.endswith("__")
            if private and child.attr not in {*own, "_asdict", "_exit"}:
                yield child


def of_self(node: ast.AST) -> bool:
    """Whether it is an attribute of `self` or `cls`."""
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls")


def test_pure_layers_import_nothing_that_acts() -> None:
    assert not [
        f"{at(path, node)} imports {name}"
        for path in modules("zmqkit")
        if layer(module_name(path)) in PURE_LAYERS
        for node, name in imports(path)
        if name.split(".")[0] in IMPURE_MODULES and node not in typing_only(path)
    ]


def test_pure_layers_call_nothing_that_acts() -> None:
    assert not [
        f"{at(path, node)} calls {name}"
        for path in modules("zmqkit")
        if layer(module_name(path)) in PURE_LAYERS
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func))
        and (name in IMPURE_CALLS or name.endswith(CLOCKS))
    ]


def test_only_a_time_of_day_is_measured_by_a_clock_that_may_step() -> None:
    """A task's `deliver_at` is one; it is turned into a delay as the task is pushed."""
    clocks = ("time.time", "time.time_ns", "time.clock_gettime", *CLOCKS)
    assert not [
        f"{at(path, node)} calls {name}"
        for path in modules("zmqkit")
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func)).endswith(clocks)
        and path.name != "time_of_day.py"
    ]


def test_every_public_object_has_a_docstring() -> None:
    missing = []
    for path in modules("zmqkit"):
        nodes = [tree(path), *public_objects(tree(path))]
        missing += [at(path, node) for node in nodes if not documented(node)]
    assert not missing


def documented(node: ast.Module | Function | ast.ClassDef) -> bool:
    """Whether the object has a docstring or is one that borrows it: an overload or a setter."""
    marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", [])]
    borrows = any(mark.endswith(("overload", ".setter", "override")) for mark in marks)
    return borrows or bool((ast.get_docstring(node) or "").strip())


def test_no_boolean_is_passed_by_position() -> None:
    assert not [
        f"{at(path, node)} {node.name}({argument.arg})"
        for path in modules("zmqkit")
        for node in functions(path)
        if node.name == "__init__" or not node.name.startswith("_")
        for argument, default in positional(node)
        if is_boolean(argument, default)
    ]


def positional(node: Function) -> list[tuple[ast.arg, ast.expr | None]]:
    """Each parameter that can be passed by position, with its default."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    without = len(arguments) - len(node.args.defaults)
    return list(zip(arguments, [*[None] * without, *node.args.defaults], strict=True))


def is_boolean(argument: ast.arg, default: ast.expr | None) -> bool:
    """Whether the parameter is declared as bool or defaults to one."""
    names = re.findall(r"\w+", ast.unparse(argument.annotation)) if argument.annotation else []
    declared = "bool" in names and set(names) <= {"bool", "None", "Optional"}
    return declared or (isinstance(default, ast.Constant) and isinstance(default.value, bool))


def test_tests_do_not_sleep() -> None:
    assert not [
        f"{at(path, node)} {ast.unparse(node)}"
        for path in modules("tests")
        if path.relative_to(ROOT).parts[1] not in ("crash", "lan")
        for node in nodes(path)
        if isinstance(node, ast.Call) and sleeps(node)
    ]


def sleeps(node: ast.Call) -> bool:
    """Whether the call waits for time to pass; asyncio.sleep(0) yields and does not."""
    if ast.unparse(node.func) not in ("sleep", "time.sleep", "asyncio.sleep"):
        return False
    return [ast.unparse(argument) for argument in node.args] != ["0"]


def test_no_forbidden_words() -> None:
    paths = [*ROOT.glob("*"), *(ROOT / ".ci").glob("*")]
    paths += [path for folder in (*FOLDERS, "docs") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in paths if path.suffix in TEXTS or path.parent.name == ".ci"]
    assert not [
        f"{path.relative_to(ROOT)}:{number} {found[0]}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := FORBIDDEN.search(line))
    ]


@pytest.mark.parametrize("name", ["zmqkit", "zmqkit.asyncio"])
def test_public_names_are_pinned(name: str) -> None:
    module = importlib.import_module(name)
    own = {"__version__"} if name == "zmqkit" else set()
    assert set(module.__all__) == PUBLIC | own
    assert len(module.__all__) == len(PUBLIC | own)
    assert not [each for each in PUBLIC if not inspect.getdoc(getattr(module, each))]


def test_every_error_is_public() -> None:
    errors = importlib.import_module("zmqkit.errors")
    defined = {name for name, each in vars(errors).items() if inspect.isclass(each)}
    assert defined == ERRORS


@pytest.mark.parametrize("name", ROLES)
def test_blocking_and_asyncio_roles_are_alike(name: str) -> None:
    blocking, asynchronous = (
        getattr(importlib.import_module(module), name)
        for module in ("zmqkit", "zmqkit.asyncio")
    )
    assert_alike(blocking, asynchronous)


def test_streams_are_alike_but_for_a_second_name_to_close_by() -> None:
    blocking, asynchronous = (
        set(members(importlib.import_module(module).Stream))
        for module in ("zmqkit", "zmqkit.asyncio")
    )
    assert asynchronous == blocking | {"aclose"}


def assert_alike(blocking: type, asynchronous: type) -> None:
    """The two have the same public members, and methods with the same parameters."""
    ours, theirs = (members(each) for each in (blocking, asynchronous))
    assert ours == theirs
    assert hasattr(blocking, "__enter__") == hasattr(asynchronous, "__aenter__")
    assert hasattr(blocking, "__exit__") == hasattr(asynchronous, "__aexit__")


def members(cls: type) -> dict[str, object]:
    """What callers see: the name of each member, and the parameters where it is a method.

    One difference is meant: asyncio's services run more handlers at once.
    """
    names = ["__init__", *(name for name in dir(cls) if not name.startswith("_"))]
    return {name: parameters(inspect.getattr_static(cls, name)) for name in names}


def parameters(member: object) -> object:
    """Name, kind and default of each parameter, but for those that are meant to differ."""
    if not inspect.isfunction(member):
        return "attribute"
    return [
        (
            each.name,
            each.kind,
            "meant to differ" if each.name == "concurrency" else each.default,
        )
        for each in inspect.signature(member).parameters.values()
    ]
