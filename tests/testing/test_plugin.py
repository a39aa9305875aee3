"""The pytest plugin, as the tests of a user's program have it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 60.0

# A run within this process forgets the modules that it imported, and extensions in C cannot be
# imported twice. So all are imported before.
for _module in ("discovery.mdns", "node.node", "testing.links", "testing.serving"):
    importlib.import_module(f"zmqkit.{_module}")


@pytest.fixture(autouse=True)
def no_other_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs within this one load the plugin of this checkout, no installed one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def passed(pytester: pytest.Pytester, text: str, count: int) -> None:
    """Run these tests with the plugin, in this process: so many pass, and no other ends."""
    pytester.makepyfile(text)
    arguments = ("-p", "pytest_zmqkit", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=count)


def test_an_object_is_served_in_a_space_of_the_test(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import os
        import zmqkit

        class Billing:
            def charge(self, amount):
                return f"charged {amount}"

        def test_charge(zmqkit_service, zmqkit_client, zmqkit_space):
            billing = zmqkit_service(Billing(), "billing")
            assert billing.name == "billing"
            assert zmqkit_client("billing").call("charge", 5) == "charged 5"
            assert os.environ["ZMQKIT_SPACE"] == zmqkit_space

        def test_nobody_is_left_of_the_test_before(zmqkit_space):
            with zmqkit.Client("billing", wait_s=0.1) as client:
                try:
                    client.call("charge", 5)
                except zmqkit.NoService:
                    return
            raise AssertionError("somebody answered")

        def test_one_test_beside_another(zmqkit_service, zmqkit_client):
            zmqkit_service(Billing, "billing")
            client = zmqkit_client("billing")
            assert client.call("charge", 6) == "charged 6"
            assert len(client.instances()) == 1
        """,
        3,
    )


def test_a_module_and_a_function_are_served(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shop="def price(item): return len(item)\n")
    passed(
        pytester,
        """
        import shop

        def test_both(zmqkit_service, zmqkit_client):
            zmqkit_service(shop, "shop")
            zmqkit_service(shop.price, "prices")
            assert zmqkit_client("shop").call("price", "tea") == 3
            assert zmqkit_client("prices").call("price", "tea") == 3
        """,
        1,
    )


def test_several_instances_share_a_memory_name(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        def test_failover(zmqkit_service, zmqkit_client):
            url = "memory://prices"
            first = zmqkit_service(len, "prices", idempotent=True, bind=url)
            zmqkit_service(len, "prices", idempotent=True, bind=url)
            client = zmqkit_client(url, count=2)
            first.close()
            assert [client.call("len", "tea") for _ in range(3)] == [3, 3, 3]
        """,
        1,
    )


def test_a_worker_does_what_is_pushed(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import zmqkit

        def test_tasks(zmqkit_worker):
            tries = []

            def resize(path):
                tries.append(path)
                if len(tries) == 1:
                    raise OSError("the disk is full")
                return path.upper()

            worker = zmqkit_worker(resize, "thumbnails")
            with zmqkit.Pusher("thumbnails") as pusher:
                assert pusher.push("cat.png").result(30) == "CAT.PNG"
            assert tries == ["cat.png", "cat.png"]
            assert worker.role.stats()["delivered"] == 1
        """,
        1,
    )


def test_handlers_that_wait_run_on_a_loop_of_the_service(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import asyncio
        import pytest
        import zmqkit

        class Shop:
            def __init__(self):
                self.both = asyncio.Event()
                self.asked = 0

            async def meet(self):  # each call waits for another one
                self.asked += 1
                if self.asked == 2:
                    self.both.set()
                await self.both.wait()
                return self.asked

            async def count(self, until):
                for number in range(until):
                    yield number

            def plain(self, item):
                return item

        def test_shop(zmqkit_service, zmqkit_client):
            service = zmqkit_service(Shop(), "shop")
            client = zmqkit_client("shop")
            begun = [client.begin("meet") for _ in range(2)]
            assert [each.result(30) for each in begun] == [2, 2]
            assert list(client.stream("count", 3)) == [0, 1, 2]
            assert client.call("plain", "tea") == "tea"
            service.close()

        def test_worker(zmqkit_worker):
            async def resize(path):
                await asyncio.sleep(0)
                return path.upper()

            zmqkit_worker(resize, "thumbnails")
            with zmqkit.Pusher("thumbnails") as pusher:
                assert pusher.push("cat.png").result(30) == "CAT.PNG"

        def test_what_cannot_open_says_so(zmqkit_service):
            async def later(): ...
            first = zmqkit_service(later, "later", bind="tcp://127.0.0.1:0")
            with pytest.raises(zmqkit.AddressTaken):
                zmqkit_service(later, "later", bind=first.url.removesuffix("/later"))
        """,
        3,
    )


def test_an_instance_is_killed_in_the_middle_of_a_call(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import asyncio
        import queue
        import threading
        import pytest

        def asking(begun, number, go_on):
            def ask():
                begun.put(number)
                go_on.wait()
                return number
            return ask

        def asking_on_a_loop(begun, number, go_on):
            async def ask():
                begun.put(number)
                while not go_on.is_set():
                    await asyncio.sleep(0)
                return number
            return ask

        @pytest.mark.parametrize("kind", [asking, asking_on_a_loop])
        @pytest.mark.parametrize("bind", [None, "memory://prices"])
        @pytest.mark.parametrize("concurrency", [1, 4])
        def test_kill(zmqkit_service, zmqkit_client, kind, bind, concurrency):
            begun, go_on = queue.Queue(), threading.Event()
            instances = [
                zmqkit_service(
                    kind(begun, number, go_on), "prices", idempotent=True, bind=bind,
                    concurrency=concurrency,
                )
                for number in range(2)
            ]
            client = zmqkit_client(bind or "prices", count=2, timeout_s=60)
            call = client.begin("ask")
            busy = begun.get(timeout=30)
            instances[busy].kill()
            assert begun.get(timeout=30) == 1 - busy
            go_on.set()
            assert call.result(30) == 1 - busy
            assert client.call("ask") == 1 - busy
            instances[busy].kill()
            instances[busy].close()
        """,
        8,
    )


@pytest.mark.slow  # a task moves once its worker has been gone for ten seconds
def test_a_worker_is_killed_in_the_middle_of_a_task(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import queue
        import threading
        import zmqkit

        def test_kill(zmqkit_worker):
            begun, go_on = queue.Queue(), threading.Event()

            def doing(number):
                def do(body):
                    begun.put(number)
                    go_on.wait()
                    return number
                return do

            workers = [
                zmqkit_worker(doing(each), "mail", bind="memory://mail") for each in range(2)
            ]
            with zmqkit.Pusher("memory://mail") as pusher:
                pusher.ready(2, timeout_s=30)
                ticket = pusher.push("hello")
                busy = begun.get(timeout=30)
                workers[busy].kill()
                assert begun.get(timeout=30) == 1 - busy
                go_on.set()
                assert ticket.result(30) == 1 - busy
        """,
        1,
    )


def test_a_subscriber_hears_a_publisher(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest
        import zmqkit

        def test_topics(zmqkit_publisher, zmqkit_subscriber):
            publisher = zmqkit_publisher("weather", history=1)
            subscriber = zmqkit_subscriber("weather", ["kitchen."], history=1)
            publisher.publish("kitchen.celsius", 21)
            assert subscriber.receive(30).body == 21

        def test_nobody(zmqkit_subscriber):
            zmqkit_subscriber("weather", count=0)
        """,
        2,
    )


def test_what_has_nothing_to_serve_is_refused(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest
        import zmqkit

        def test_refused(zmqkit_service):
            with pytest.raises(zmqkit.UsageError, match="no public functions"):
                zmqkit_service(object(), "billing")
        """,
        1,
    )


def test_the_plugin_imports_nothing_of_zmqkit_until_a_fixture_is_used() -> None:
    code = "import sys, pytest_zmqkit; print([x for x in sys.modules if x[:6] == 'zmqkit'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_each_snippet_of_the_document_passes(pytester: pytest.Pytester) -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    tests = sum(len(re.findall(r"^def test_", each, re.MULTILINE)) for each in snippets)
    rules = int(re.findall(r"RULES\[:(\d)\]", text)[0])
    pytester.makepyfile(**{f"test_{n}": each for n, each in enumerate(snippets)})
    arguments = ("-p", "pytest_zmqkit", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=tests - 1 + rules)
