"""Find out whether this process may open more descriptors. Without one, libzmq aborts."""

from __future__ import annotations

import errno
import os

from zmqkit.errors import ConfigError

_UNKNOWN = 1024


def check_spare(count: int, what: str) -> None:
    """Raise ConfigError unless this process can open `count` more descriptors.

    what: the thing that needs them, as the error names it.
    The function opens so many descriptors and closes them again. libzmq aborts the process if
    it lacks a descriptor internally.
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


def may_open(enough: int) -> int:
    """Return how many descriptors this process may open, `enough` if there is no limit.

    1024 where the system does not tell.
    """
    try:
        import resource  # which Windows does not have
    except ImportError:
        return _UNKNOWN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return enough if soft == resource.RLIM_INFINITY else soft
