"""An event loop of which a test takes the turns."""

from __future__ import annotations

from collections.abc import Callable


class Loop:
    """Notes what is to be called soon; nothing happens but in `turn`."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        pass

    def remove_reader(self, descriptor: int) -> None:
        pass

    def turn(self) -> bool:
        """Call what is due; whether the next turn would not sleep."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()
        return bool(self.soon)
