"""The journals of a broker: a folder with one file for each service."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from zmqkit.blocking.role import Life
from zmqkit.core.effects import Append, Effect, Page
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.followed import FollowedBack
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.disk.glance import check_kind, check_queue, glance
from zmqkit.disk.places import check_folder
from zmqkit.errors import ConfigError, JournalError, UsageError
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import check_name
from zmqkit.roles.administration import Administration
from zmqkit.roles.journaled import Journaled, open_journal
from zmqkit.roles.queues import Listening
from zmqkit.roles.role import Command
from zmqkit.roles.scheme import Binding
from zmqkit.roles.tasks import jitter

_SUFFIX = ".journal"


def check_journals(path: Path, name: str, *, is_folder: bool) -> None:
    """Raise JournalError or UsageError if what is at a path is not the journal of a device.

    name: of a device whose journal is one file; a folder has one file for each service.
    """
    files = _services_in(path) if is_folder else {name: path}
    for queue, file in files.items():
        about = glance(file) if file.is_file() else None
        if about is not None:
            check_queue(file, about.queue, queue)
            check_kind(file, has_requests=about.has_requests, wanted=is_folder)


def _services_in(folder: Path) -> dict[str, Path]:
    """Return the journals in a folder by the services that they are of."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(UsageError):
            found[check_name(path.name.removesuffix(_SUFFIX))] = path
    return found


class Journals:
    """Opens the journal of each service, and has it follow the back of that service.

    folder: where the files are; it is made if it is not there. One broker at a time has it.
    Raises ConfigError if that cannot be.
    """

    def __init__(self, folder: str | Path, limits: BrokerLimits) -> None:
        self._folder = Path(folder)
        self._limits = limits
        self._opened: dict[str, tuple[Journaled, Listening]] = {}
        self._held: int | None = None  # a descriptor of the folder, whose lock says so
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ConfigError(
                f"{folder} cannot be the folder of a broker's journals: {why}; give the path "
                "of a folder on a local disk"
            ) from error
        check_folder(self._folder)

    def belong_to(self, core: BrokerCore, life: Life[Binding]) -> None:
        """Follow the services of this broker; `make_back` is called from now on."""
        self._core, self._life = core, life
        # Why a journal cannot be written any more, if that is so.
        self.fault: JournalError | None = None

    def hold(self) -> None:
        """Have the folder for this broker alone until `close`; JournalError if another has it.

        Without that a second broker would begin, and find out with the first service of both.
        """
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise JournalError(
                f"{self._folder}: another broker has its journals there; stop that one, or "
                "give this one a folder of its own"
            ) from error
        self._held = descriptor

    def names(self) -> list[str]:
        """Return the services that have a journal already."""
        return [*_services_in(self._folder)]

    def make_back(self, name: str, front: FrontCore) -> DurableBack:
        """Open the journal of a service, or make it, and return the back that it follows.

        Raises JournalError.
        """
        try:
            journal = open_journal(self._folder / f"{name}{_SUFFIX}", name, has_requests=True)
        except UsageError as error:
            raise JournalError(str(error)) from error
        back = DurableBack(name, journal.id, jitter, self._limits, front)
        following = FollowedBack(self._core, name, back)
        journaled = Journaled(journal, back.core, self._heard, following)

        def perform(effects: list[Effect]) -> None:
            now = time.monotonic()
            self._life.perform(self._core.follow(name, effects, now))

        desk = Administration(back.core, self._life.submit, perform, journaled)
        self._opened[name] = journaled, desk.listen(name)
        return back

    def append(self, effect: Append) -> None:
        """Write changes to the journal of a service."""
        self._opened[effect.queue][0].append(effect)

    def page(self, effect: Page) -> None:
        """Read a page of the journal of a service."""
        self._opened[effect.queue][0].page(effect)

    def close(self) -> None:
        """Write what was handed over, and close all files."""
        opened, self._opened = self._opened, {}
        for journaled, listening in opened.values():
            listening.close()
            journaled.close()
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def _heard(self, command: Command, *values: object) -> None:
        """Have the core run a command, on a journal's thread."""
        with suppress(UsageError):  # the broker is closed
            self._life.command(command, *values)
            fault = self._core.fault
            if fault is not None:
                self.fault = fault
                self._life.wake()
