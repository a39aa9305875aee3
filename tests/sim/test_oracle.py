"""The oracle notices what must not be: each breaks a rule of a core or a driver on purpose."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.sim.breaking import Break, name_of
from zmqkit.core.calls.client_streams import Arrivals, ClientStreams, StreamCall
from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.calls.service_streams import Streams
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.dispatch.window import Window
from zmqkit.core.effects import Disconnect, Effect
from zmqkit.drivers.perform import Driver
from zmqkit.wire.rows import ItemRow

SEEDS = range(60)


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
    Break(performs_backwards, "healed, subscribers are up"),
    Break(keeps_connections, "nobody is connected at the end"),
    Break(finishes_nothing, "healed, calls succeed"),
    Break(takes_any_value, "a prefix is read"),
    Break(grants_nothing, "healed, calls succeed"),
    Break(reads_for_the_dead, "idle, nothing runs", 85),
    Break(forgets_what_was_taken, "AssertionError"),
    Break(keeps_no_answers, "a service runs an id once"),
    Break(moves_everything, "what may not repeat runs once"),
    Break(denies_everything, "may_have_run=False means"),
    Break(keeps_every_call, "AssertionError"),
    Break(asks_for_nothing, "healed, calls succeed"),
    Break(forgets_nobody, "a core is due for ever"),
]


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS, ids=name_of)
def test_a_rule_that_is_broken_is_noticed(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken.is_noticed(monkeypatch, SEEDS)
