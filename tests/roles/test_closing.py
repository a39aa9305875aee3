"""Who gives up waiting for a close has closed nevertheless."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf

import pytest

from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")

KINDS = ["publisher", "subscriber", "client", "serving"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_close_goes_on_when_the_wait_for_it_is_cancelled(aio: AsyncKit, kind: str) -> None:
    options = {"count": 0} if kind in ("subscriber", "client") else {}
    role = getattr(aio, kind)(**options).inner

    async def close() -> int:
        waiting = asyncio.ensure_future(role.close(BOUND_S))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        closed: int = await role.close()
        return closed

    assert aio.submit(close()).result(BOUND_S) == 0
    until(lambda: role._place.node is None)


@pytest.mark.parametrize("timeout_s", [3e6, inf, None])
def test_a_close_may_take_ages(kit: Kit, timeout_s: float | None) -> None:
    roles = [kit.publisher(), kit.subscriber(), kit.serving(), kit.client()]
    for role in reversed(roles):
        assert role.close(timeout_s) == 0
