"""Which event loop commands run on."""

from __future__ import annotations

import asyncio
import importlib.util
import sys

import pytest

from zmqkit.cli.loop import on_loop


async def kind() -> str:
    """The module that made the running loop."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_it_is_uvloop_where_that_is_installed() -> None:
    installed = importlib.util.find_spec("uvloop")
    assert on_loop(kind()) == ("uvloop" if installed else "asyncio")


def test_it_is_asyncio_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert on_loop(kind()) == "asyncio"


@pytest.mark.parametrize("blocked", [False, True], ids=["fast", "plain"])
def test_what_the_work_raises_comes_out(blocked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if blocked:
        monkeypatch.setitem(sys.modules, "uvloop", None)

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        on_loop(fail())
