"""What all drivers share: performing the effects of a core and feeding it packets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.effects import (
    Abort,
    Advance,
    Append,
    Ask,
    Connect,
    Core,
    Disconnect,
    Effect,
    Handle,
    Note,
    Offer,
    Page,
    Retract,
    Send,
    Settle,
    Tell,
    Watch,
)
from zmqkit.drivers.notes import Notes
from zmqkit.errors import ConfigError
from zmqkit.limits import DRAIN_BYTES, DRAIN_PACKETS
from zmqkit.links import Link
from zmqkit.model import Frames, PeerId

ReceiveAll = Callable[[Sequence[tuple[PeerId, Frames]], float], list[Effect]]

_PUMPS_MAX = 100


def _nobody(effect: object) -> None:
    raise AssertionError(f"nobody performs {effect}")


@dataclass(slots=True)
class Hooks:
    """The functions of a role that perform the effects which are not for the link."""

    # Ends these waits.
    settle: Callable[[Sequence[Outcome]], None] = _nobody
    # Runs the handlers of these requests, or has them run; each ends in the core's `handled`.
    handle: Callable[[list[Request]], None] = _nobody
    # Runs these generators on, see `Advance`.
    advance: Callable[[list[StreamRequest]], None] = _nobody
    # Tells the running handlers of these requests that nobody waits for them.
    abort: Callable[[list[Request]], None] = _nobody
    # Writes changes to the journal; the core's `appended` or `unwritten` follows.
    append: Callable[[Append], None] = _nobody
    # Reads a page of the journal; the core's `paged` or `unpaged` follows.
    page: Callable[[Page], None] = _nobody
    # Has membership watch the process at a URL.
    watch: Callable[[Watch], None] = _nobody
    # Passes membership's news on.
    tell: Callable[[Tell], None] = _nobody
    # Has discovery ask who is there.
    ask: Callable[[Ask], None] = _nobody
    # Tells other processes of a service of a broker, or that it has ended.
    offer: Callable[[Offer], None] = _nobody
    retract: Callable[[Retract], None] = _nobody
    # Takes an event. By default the driver's `notes` take it.
    note: Callable[[Note], None] | None = None
    # Gives the core what handlers have finished by now, and returns the core's effects.
    finished: Callable[[], list[Effect]] | None = None


class Driver:
    """Drives one core on one link, one thread at a time; that thread holds the role's lock.

    hooks: the functions of the role. changed: is told of connections made and broken, if the
    core wants to know. receive_all: the core's function that takes all packets at once, if it
    has one. clock: returns the time. What is to be logged waits in `notes`; whoever drives has
    it logged after the work.
    """

    def __init__(
        self,
        core: Core,
        link: Link,
        hooks: Hooks | None = None,
        *,
        changed: Callable[[PeerId, bool, float], list[Effect]] | None = None,
        receive_all: ReceiveAll | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.core = core
        self.link = link
        self.hooks = hooks or Hooks()
        self.notes = Notes()
        self._note = self.hooks.note or self.notes.note
        self._finished = self.hooks.finished
        self._changed = changed
        self._receive_all = receive_all
        self._clock = clock
        self._lacking: dict[PeerId, Connect] = {}

    def _connect(self, effect: Connect) -> None:
        """Open a connection, or warn that there are no descriptors left.

        The driver tries again when the core next sends to that peer.
        """
        try:
            self.link.connect(effect.peer, effect.endpoint)
        except ConfigError as error:
            if not self._lacking:
                self.notes.add(logging.WARNING, "%s", error)
            self._lacking[effect.peer] = effect
        else:
            self._lacking.pop(effect.peer, None)

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects in order, and then the effects that follow from failed sends."""
        for effect in effects:
            if type(effect) is Send:
                if not self.link.send(effect.peer, effect.frames):
                    if effect.peer in self._lacking:
                        self._connect(self._lacking[effect.peer])
                    now = self._clock()
                    effects.extend(self.core.unsent(effect.peer, effect.frames, now))
            elif type(effect) is Settle:
                self.hooks.settle(effect.outcomes)
            elif type(effect) is Handle:
                self.hooks.handle(effect.requests)
            else:
                self._perform_other(effect)

    def _perform_other(self, effect: Effect) -> None:
        match effect:
            case Advance():
                self.hooks.advance(effect.requests)
            case Abort():
                self.hooks.abort(effect.requests)
            case Append():
                self.hooks.append(effect)
            case Page():
                self.hooks.page(effect)
            case Connect():
                self._connect(effect)
            case Disconnect():
                self._lacking.pop(effect.peer, None)
                self.link.disconnect(effect.peer, effect.linger_s)
            case Note():
                self._note(effect)
            case Watch():
                self.hooks.watch(effect)
            case Tell():
                self.hooks.tell(effect)
            case Ask():
                self.hooks.ask(effect)
            case Offer():
                self.hooks.offer(effect)
            case Retract():
                self.hooks.retract(effect)
            case _:
                _nobody(effect)

    def pump(self, now: float) -> bool:
        """Feed the core what has arrived; return whether anything came."""
        messages = self.link.receive(DRAIN_PACKETS, DRAIN_BYTES)
        if self._receive_all is not None:
            self.perform(self._receive_all(messages, now))
        else:
            for peer, frames in messages:
                effects = self.core.receive(peer, frames, now)
                if effects:
                    self.perform(effects)
        came = bool(messages)
        if self._changed is not None:
            for peer, up in self.link.changes():
                came = True
                self.perform(self._changed(peer, up, now))
        if self._finished is not None:
            self.finish(now)
        return came

    def catch_up(self, now: float) -> None:
        """Feed the core all that has arrived, within reason, before it hears news of a peer."""
        for _ in range(_PUMPS_MAX):
            if not self.pump(now):
                return

    def finish(self, now: float) -> None:
        """Give the core what handlers have finished by now, and send the answers."""
        assert self._finished is not None
        while effects := self._finished():
            self.perform(effects)
        self.flush(now)

    def tick(self, now: float) -> None:
        """Have the core do what is due, if anything is, and answer what this runs."""
        if now >= self.core.deadline():
            self.perform(self.core.tick(now))
            if self._finished is not None:
                self.finish(now)
            else:
                self.flush(now)

    def flush(self, now: float) -> None:
        """Send what the core has gathered."""
        while effects := self.core.flush(now):
            self.perform(effects)
