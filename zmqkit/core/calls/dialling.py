"""A worker or a service that dials devices, instead of being found.

It has a connection to each instance of the device that it was told of, and says READY there.
The device answers, greets it, and then uses it as any worker. It says READY each READY_S as
long as it lives. Each instance has a rhythm of its own.

Theory of operation. `hear` tells of an instance by its incarnation. A URL is one instance, with
the number 0, of which nothing but FOUND is told. MOVED is FOUND at another endpoint. UNANSWERED
is that nothing at all came since READY_COUNT of the words, when the next one is due: the device
may be gone, or may have restarted elsewhere, or the network may have dropped the connection
without a word. `LIFE` has what follows from each event in each state.

    UNKNOWN  never told of, or forgotten
    DIALLED  connected, and READY leaves in its rhythm
    SILENT   the same, but its process does not answer membership, so to dial anew is of no use
    AWAY     its process is out of reach; nothing is connected until it is found again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from zmqkit.core.calls.admission import Share
from zmqkit.core.calls.request import RequestWindows
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.dialled import says_ready
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.limits import DEVICES_MAX, READY_COUNT, READY_S
from zmqkit.model import MAJORDOMO, Frames, PeerId, Reach, reach_of_endpoint
from zmqkit.types import ServiceStats
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode

DEVICE_PEER: PeerId = b"device"
"""The connection to the device at a URL; to one that was found, its incarnation follows."""

_MISSING_S = READY_COUNT * READY_S
_REFUSED_MAX = 1_000
"""How many characters of a device's reason are told."""
_NONE: Mapping[str, bool] = {}
_DIAL = {"streamer": "workers", MAJORDOMO: "services"}
"""The kinds of devices, each with those who dial it."""


class State(Enum):
    """The state of an instance; the text at the top of the module says what each means."""

    UNKNOWN = "unknown"
    DIALLED = "dialled"
    SILENT = "silent"
    AWAY = "away"


class Event(Enum):
    """What may happen to an instance."""

    FOUND = auto()
    MOVED = auto()
    SILENT = auto()
    ANSWERING = auto()
    LOST = auto()
    GONE = auto()
    UNANSWERED = auto()


class Act(Enum):
    """What the core does about an event."""

    NOTHING = auto()
    # Close its connection, if there is one, open a new one, and say READY on that.
    DIAL = auto()
    # Say READY now.
    READY = auto()
    # Close its connection.
    HANG_UP = auto()


def _row(cells: str) -> dict[State, tuple[Act, State]]:
    acts = {"": Act.NOTHING, "dial": Act.DIAL, "ready": Act.READY, "hang-up": Act.HANG_UP}
    pairs = [cell.rpartition(":") for cell in cells.split()]
    row = [(acts[act], State[state]) for act, _, state in pairs]
    return dict(zip(State, row, strict=True))


LIFE: Mapping[Event, Mapping[State, tuple[Act, State]]] = {
    #                       UNKNOWN      DIALLED         SILENT          AWAY
    Event.FOUND:      _row("dial:DIALLED DIALLED         SILENT          dial:DIALLED"),
    Event.MOVED:      _row("dial:DIALLED dial:DIALLED    dial:DIALLED    dial:DIALLED"),
    Event.SILENT:     _row("UNKNOWN      SILENT          SILENT          AWAY"),
    Event.ANSWERING:  _row("UNKNOWN      DIALLED         ready:DIALLED   AWAY"),
    Event.LOST:       _row("UNKNOWN      hang-up:AWAY    hang-up:AWAY    AWAY"),
    Event.GONE:       _row("UNKNOWN      hang-up:UNKNOWN hang-up:UNKNOWN UNKNOWN"),
    Event.UNANSWERED: _row("UNKNOWN      dial:DIALLED    ready:SILENT    AWAY"),
}  # fmt: skip
_EVENTS = {
    News.FOUND: Event.FOUND,
    News.SILENT: Event.SILENT,
    News.ANSWERING: Event.ANSWERING,
    News.LOST: Event.LOST,
    News.GONE: Event.GONE,
}


@dataclass(slots=True, eq=False)
class Device:
    """One instance of a device, and the connection to it."""

    incarnation: int
    peer: PeerId
    endpoint: str
    state: State = State.UNKNOWN
    # When the next READY is due, and how many of them nothing answered.
    ready_at: float = inf
    unanswered: int = 0
    # What was said of it last, for it is said once.
    said: str = ""
    # Whether its last answer to READY was that it takes this worker.
    takes: bool = False


class DiallingCore(ServiceCore):
    """The core of a worker or service that dials: it keeps a connection to each device."""

    def __init__(
        self,
        incarnation: int,
        methods: Mapping[str, bool],
        concurrency: int,
        streams: Mapping[str, bool] = _NONE,
        *,
        device: str,
        name: str,
        shares: Callable[[int, RequestWindows], Share] | None = None,
    ) -> None:
        """Begin without a connection; `hear` learns where the devices are.

        device: which kind they are, `streamer` or `majordomo`. name: that of the tasks or the
        service, or nothing for that of the device, whatever it is. For the rest see
        ServiceCore.
        """
        super().__init__(incarnation, methods, concurrency, streams, shares=shares)
        self.name = name
        self._device = device
        self._devices: dict[int, Device] = {}
        self._by_peer: dict[PeerId, Device] = {}
        self._due_at = inf
        # Why no device was found, as membership says and as was logged, and when to log it.
        self._hint = self._told = ""
        self._missing_at = inf
        self._is_full = False

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take the news of an instance of the device, and decide what follows."""
        if self._closed:
            return []
        if tell.news is News.HINT:
            self._hint = tell.text
        event = _EVENTS.get(tell.news)
        effects = self._meet(tell, event, now) if event is not None else []
        if self._devices:
            self._missing_at, self._told = inf, ""
        elif self._missing_at == inf and self._hint != self._told:
            self._missing_at = now + _MISSING_S
        self._due_at = self._next_at()
        return effects

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a device. Never raises for what it sent."""
        device = self._by_peer.get(peer)
        if device is not None:
            device.unanswered = 0
            if says_ready(frames):
                try:
                    packet = wire.unpack(frames)
                    if packet.target == self.incarnation:
                        return self._answered(device, wire.fields_of(packet))
                except Malformed:
                    pass  # it is counted where all packets are read
        return super().receive(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: say READY, dial anew, or tell that no device is there."""
        effects = super().tick(now)
        if now < self._due_at:
            return effects
        for device in self._devices.values():
            if now >= device.ready_at:
                effects += self._look_at(device, now)
        if now >= self._missing_at:
            self._missing_at, self._told = inf, self._hint
            fields = {"device": self._device, "name": self.name, "text": self._hint}
            effects.append(Note("device-missing", fields))
        self._due_at = self._next_at()
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(super().deadline(), self._due_at)

    def close(self) -> list[Effect]:
        """Drop every request that is not answered, and say so."""
        self._devices.clear()
        self._by_peer.clear()
        self._due_at = self._missing_at = inf
        return super().close()

    def stats(self) -> ServiceStats:
        """Return the counters of a service, and how many devices take this worker."""
        taking = sum(each.takes for each in self._devices.values())
        return {**super().stats(), "devices": taking}

    def check(self) -> None:
        """Assert that there are not too many devices, and that each has its rhythm."""
        super().check()
        assert len(self._devices) <= DEVICES_MAX
        assert self._by_peer == {each.peer: each for each in self._devices.values()}
        for each in self._devices.values():
            assert each.state is not State.UNKNOWN
            assert (each.ready_at == inf) == (each.state is State.AWAY)
            assert each.unanswered <= READY_COUNT or each.state is State.SILENT
        assert self._due_at == self._next_at()

    # One device

    def _meet(self, tell: Tell, event: Event, now: float) -> list[Effect]:
        """Have an instance meet the event that membership tells of."""
        device = self._devices.get(tell.incarnation)
        if device is None:
            if event is Event.FOUND and len(self._devices) >= DEVICES_MAX:
                return self._say_full()
            device = Device(tell.incarnation, _peer_of(tell.incarnation), tell.endpoint)
        elif event is Event.FOUND and tell.endpoint != device.endpoint:
            event = Event.MOVED
            device.endpoint = tell.endpoint
        effects = self._turn(device, event, now)
        if device.state is State.UNKNOWN:
            self._devices.pop(device.incarnation, None)
            self._by_peer.pop(device.peer, None)
        else:
            self._devices[device.incarnation] = self._by_peer[device.peer] = device
        return effects

    def _turn(self, device: Device, event: Event, now: float) -> list[Effect]:
        """Let an event happen to a device; `LIFE` says what follows."""
        was = device.state
        act, device.state = LIFE[event][was]
        if act is Act.READY:
            if device.state is State.DIALLED:
                device.unanswered = 0
            return [self._ready(device, now)]
        effects: list[Effect] = []
        if act is not Act.NOTHING:
            device.ready_at, device.unanswered, device.takes = inf, 0, False
            if was in (State.DIALLED, State.SILENT):
                effects.append(Disconnect(device.peer))
        if act is Act.DIAL:
            effects.append(Connect(device.peer, device.endpoint))
            effects.append(self._ready(device, now))
        return effects

    def _look_at(self, device: Device, now: float) -> list[Effect]:
        """Say READY, unless nothing answers that."""
        if device.unanswered < READY_COUNT:
            return [self._ready(device, now)]
        said: list[Effect] = []
        if device.state is State.DIALLED:
            said = self._say(device, "device-unreachable", self._unreachable(device))
        return [*said, *self._turn(device, Event.UNANSWERED, now)]

    def _ready(self, device: Device, now: float) -> Send:
        device.ready_at = now + READY_S
        device.unanswered += 1
        fields = {"name": self.name, **wire.named(wire.space_of(self.about))}
        if reach_of_endpoint(device.endpoint) > Reach.LOCAL:
            fields["lz4"] = True
        return Send(device.peer, wire.pack(wire.READY, self.incarnation, 0, 0, encode(fields)))

    def _answered(self, device: Device, fields: Mapping[str, object]) -> list[Effect]:
        """Take a device's answer to READY; say what is wrong, if anything is."""
        theirs, refused = fields.get("name"), fields.get("refused")
        device.takes = False
        if isinstance(refused, str):
            return self._say(device, "device-refused", refused[:_REFUSED_MAX])
        if self.name and theirs != self.name:
            return self._say(device, "device-refused", self._misnamed(theirs))
        if fields.get("full") is True:
            whom = _DIAL[self._device]
            text = f"it has as many {whom} as it takes; raise its limits.instances_max"
            return self._say(device, "device-refused", text)
        device.takes = True
        return self._say(device, "device-found", "")

    def _misnamed(self, theirs: object) -> str:
        """Return what is wrong if the device has another name; a broker has none of its own."""
        if self._device == MAJORDOMO:
            return f"no {MAJORDOMO} listens there, but what is called {theirs!r}; mend the URL"
        return f"its {self._device} is that of {theirs!r}; end the URL with /{theirs}"

    def _unreachable(self, device: Device) -> str:
        if device.incarnation:
            return "it was found there, and does not answer; see `zmqkit ls -v`"
        may_be_router = self._device == MAJORDOMO
        return (
            f"a {self._device} has to listen there"
            f"{f', or a router that passes {self.name!r} on' if may_be_router else ''}, since "
            f"nobody else takes {_DIAL[self._device]} that dial: "
            f"zmqkit run {self._device} --name NAME --set frontend.bind=URL"
        )

    def _say(self, device: Device, event: str, text: str) -> list[Effect]:
        if device.said == event:
            return []
        device.said = event
        fields = {"device": self._device, "name": self.name, "endpoint": device.endpoint}
        return [Note(event, {**fields, "text": text} if text else fields)]

    def _say_full(self) -> list[Effect]:
        was_full, self._is_full = self._is_full, True
        return [] if was_full else [Note("devices-full", {"devices": len(self._devices)})]

    def _next_at(self) -> float:
        due_at = min((each.ready_at for each in self._devices.values()), default=inf)
        return min(due_at, self._missing_at)


def _peer_of(incarnation: int) -> PeerId:
    return DEVICE_PEER + incarnation.to_bytes(8, "big") if incarnation else DEVICE_PEER
