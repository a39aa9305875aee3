"""The oracle notices what must not be: each breaks a rule of a core or a driver on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from zmqkit.core.calls.client_streams import Arrivals, ClientStreams, StreamCall
from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.calls.service_streams import Streams
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.dispatch.window import Window
from zmqkit.core.effects import Disconnect, Effect
from zmqkit.drivers.perform import Driver
from zmqkit.simulation.simulation import run
from zmqkit.wire.rows import ItemRow

SEEDS = (15, *range(60))
"""The first notices a break that few notice."""


def keeps_no_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Window, "retain", lambda self, sequence, answer: None)


def moves_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "may_move", True)


def denies_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "may_have_run", False)


def keeps_every_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "settle", lambda self, job, count: None)


def asks_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "unnamed", lambda self, token, held: [])
    patch.setattr(ServiceCore, "_hello", lambda self, window, packet, now: [])


def forgets_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("zmqkit.core.dispatch.window.Windows.sweep", lambda self, now: None)


def takes_any_value(patch: pytest.MonkeyPatch) -> None:
    def take_in(self: ClientStreams, instance: Instance, rows: Iterable[ItemRow]) -> Arrivals:
        news = Arrivals()
        for sequence, _, size, value in rows:
            call = self._find(instance, sequence, news)
            if call is not None and call.have < call.taken + call.window[0]:
                news.waits.append(call.add(size, value))
        return news

    patch.setattr(ClientStreams, "take_in", take_in)


def grants_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamCall, "owes_credit", False)


def reads_for_the_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Streams, "abandoned", lambda self, now: iter(()))


def forgets_what_was_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamRequest, "has_room", True)


def performs_backwards(patch: pytest.MonkeyPatch) -> None:
    perform = Driver.perform
    patch.setattr(Driver, "perform", lambda self, effects: perform(self, effects[::-1]))


def keeps_connections(patch: pytest.MonkeyPatch) -> None:
    perform = Driver._perform_other

    def perform_other(self: Driver, effect: Effect) -> None:
        if not isinstance(effect, Disconnect):
            perform(self, effect)

    patch.setattr(Driver, "_perform_other", perform_other)


def finishes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Driver, "finish", lambda self, now: None)


BREAKS = [
    (performs_backwards, "healed, subscribers are up"),
    (keeps_connections, "nobody is connected at the end"),
    (finishes_nothing, "healed, calls succeed"),
    (takes_any_value, "a prefix is read"),
    (grants_nothing, "healed, calls succeed"),
    (reads_for_the_dead, "idle, nothing runs"),
    (forgets_what_was_taken, "AssertionError"),
    (keeps_no_answers, "a service runs an id once"),
    (moves_everything, "what may not repeat runs once"),
    (denies_everything, "may_have_run=False means"),
    (keeps_every_call, "AssertionError"),
    (asks_for_nothing, "healed, calls succeed"),
    (forgets_nobody, "a core is due for ever"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "invariant"), BREAKS, ids=[break_it.__name__ for break_it, _ in BREAKS]
)
def test_a_rule_that_is_broken_is_noticed(
    break_it: Callable[[pytest.MonkeyPatch], None],
    invariant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch)
    broken = (run(seed).broken for seed in SEEDS)
    assert any(invariant in text for text in broken)
