"""What is served of a module or an object, and what never is."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zmqkit
from zmqkit.cli.target import load, load_worker
from zmqkit.errors import UsageError, ZmqkitError

Write = Callable[[str], str]


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Write:
    """Write a module into the current directory; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")

    def write(text: str) -> str:
        name = f"made_{abs(hash(request.node.name))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_builtins_without_a_signature_are_served() -> None:
    target = load("math")
    assert target.name == "math"
    assert target.methods["hypot"] is math.hypot
    assert "pi" not in target.methods


def test_a_module_serves_what_it_defines_and_no_imports(module: Write) -> None:
    name = module(
        "from os import system\nfrom functools import lru_cache\n"
        "@lru_cache\ndef cached(): return 1\n"
        "def plain(): return 1\ndef many(): yield 1\ndef _private(): return 1\n"
        "async def waiting(): return 1\nclass Kind: pass\n"
    )
    target = load(name)
    assert sorted(target.methods) == ["cached", "many", "plain", "waiting"]
    assert target.waits


def test_an_async_generator_needs_a_loop(module: Write) -> None:
    assert load(module("async def many(): yield 1\n")).waits


def test_all_says_what_is_served(module: Write) -> None:
    name = module("__all__ = ['getcwd', 'Kind']\nfrom os import getcwd\nclass Kind: pass\n")
    assert sorted(load(name).methods) == ["getcwd"]


@pytest.mark.parametrize("path", ["Kind", "kind", "holder.kind"])
def test_an_object_serves_its_methods(path: str, module: Write) -> None:
    name = module(
        "class Kind:\n"
        "    def method(self): return 1\n"
        "    @classmethod\n    def of_class(cls): return 2\n"
        "    @staticmethod\n    def of_nobody(): return 3\n"
        "    @property\n    def looked_at(self): raise RuntimeError\n"
        "    def _private(self): return 4\n"
        "kind = Kind()\nclass holder: kind = kind\n"
    )
    target = load(f"{name}:{path}")
    assert target.name == path.rpartition(".")[2]
    assert {key: each() for key, each in target.methods.items()} == {
        "method": 1,
        "of_class": 2,
        "of_nobody": 3,
    }


def test_a_function_is_served_alone() -> None:
    assert load("math:sqrt").methods == {"sqrt": math.sqrt}


def test_the_last_part_of_a_module_is_its_name() -> None:
    assert load("os.path").name == "path"


def test_a_service_is_served_as_it_stands(module: Write) -> None:
    target = load(module("import zmqkit\nservice = zmqkit.Service('mine')\n") + ":service")
    assert target.name == "mine"
    assert isinstance(target.service, zmqkit.Service)
    assert target.methods == {}


@pytest.mark.parametrize("shape", ["{}.py", "./{}.py", "{}.py:double"])
def test_a_file_is_served_like_its_module(module: Write, shape: str) -> None:
    name = module("def double(number): return 2 * number\n")
    target = load(shape.format(name))
    assert [*target.methods] == ["double"]
    assert target.name == ("double" if ":" in shape else name)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("json.py", "another module is called 'json'; rename the file"),
        ("my-shop.py", "'my-shop.py' cannot be imported; rename it"),
    ],
)
def test_a_file_that_cannot_be_imported_by_its_name_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / file).write_text("def double(number): return 2 * number\n")
    with pytest.raises(UsageError, match=re.escape(said)):
        load(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such_module", "no module"),
        ("math.no_such", "no module"),
        ("no_such.py:x", "there is no file 'no_such.py'"),
        ("./shop", "not a module's name"),
        ("", "not a module's name"),
        ("math:", "names no object"),
        ("math:nothing", "has no 'nothing'"),
        ("zmqkit.errors", "no public functions"),
        ("zmqkit.model:Record", "Record() failed"),
        ("os.path:sep", "'os.path:sep' is plain data, of type str; name a function"),
        ("math:pi", "of type float"),
        ("os:environ._data", "of type dict"),
    ],
)
def test_what_cannot_be_served_says_why(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        load(text)


def test_a_mistyped_name_is_answered_with_what_can_be_served(module: Write) -> None:
    name = module(
        "from __future__ import annotations\nimport os, re\nfrom pathlib import Path\n"
        "from os import getcwd\nfrom datetime import UTC\nimport zmqkit\nLIMIT = 5\n"
        "class Kind:\n    size = 5\n    def method(self): return 1\n"
        "def plain(): return 1\nkind = Kind()\nother = zmqkit.Service('x')\n"
    )
    with pytest.raises(UsageError, match=r"has no 'Nope'; there are Kind, kind, other, plain$"):
        load(f"{name}:Nope")
    with pytest.raises(UsageError, match=r"has no 'kind.Nope'; there are method$"):
        load(f"{name}:kind.Nope")


def test_a_mistyped_name_is_answered_with_what_all_lists(module: Write) -> None:
    name = module("__all__ = ['getcwd', 'LIMIT']\nfrom os import getcwd\nLIMIT = 5\n")
    with pytest.raises(UsageError, match=r"there are getcwd$"):
        load(f"{name}:Nope")


@pytest.mark.parametrize("text", ["import no_such_dependency", "1 / 0", "raise SystemExit(3)"])
def test_a_module_that_fails_is_not_wrong_usage(text: str, module: Write) -> None:
    with pytest.raises(ZmqkitError, match="failed") as caught:
        load(module(text))
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("verb", ["work", "serve"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_module_that_serves_while_it_is_imported_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, loop: bool
) -> None:
    kind = "Worker" if verb == "work" else "Service"
    call = f"asyncio.run(role.{verb}())" if loop else f"role.{verb}()"
    monkeypatch.syspath_prepend(tmp_path)
    module = f"serves_{verb}_{loop}"
    (tmp_path / f"{module}.py").write_text(
        f"import asyncio, zmqkit.asyncio\n"
        f"role = zmqkit.{'asyncio.' if loop else ''}{kind}('never')\n"
        f"if {verb == 'work'}:\n    role.task(print)\n"
        f"{call}\n"
    )
    with pytest.raises(UsageError, match=rf"calls {verb}\(\) while it is imported; .*__main__"):
        (load_worker if verb == "work" else load)(f"{module}:role")
