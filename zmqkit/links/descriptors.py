"""Whether this process may open more, found out before libzmq does: that ends the process."""

from __future__ import annotations

import errno
import os

from zmqkit.errors import ConfigError


def check_spare(count: int, what: str) -> None:
    """Raise ConfigError unless so many descriptors can be opened, for a thing of that name.

    Some are opened and closed again. libzmq aborts where it misses one within.
    """
    held: list[int] = []
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
        while len(held) < count:
            held.append(os.dup(held[0]))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise ConfigError(
            f"{what} needs {count} descriptors, and this process may open only {len(held)} "
            "more; raise its limit, `ulimit -n`, or close some roles"
        ) from error
    finally:
        for descriptor in held:
            os.close(descriptor)
