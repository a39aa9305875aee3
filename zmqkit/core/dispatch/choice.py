"""Which instance a job is given to: the least busy one, or the one that its id chooses.

A request that a broker keeps has an id, under which it may be submitted again, by anybody. So
clients that see the same brokers choose the same one for an id: the one with the highest hash
of the id and the number of its journal, which outlives the broker's process. If that one is
full the job waits, for another broker would take the same request for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice

from zmqkit.core.dispatch.job import Instance, Job


def choose(job: Job, ready: list[Instance]) -> Instance | None:
    """Return the instance for a job; None when no instance has room for it.

    ready: those that may get new jobs, the least recently used first; it is kept in that order.
    The least loaded is chosen; of equals, the least recently used. An instance without credit
    is never chosen, nor one that refused the job. An instance that lacks the method is chosen
    only if all instances lack it.
    """
    if len(ready) == 1 and not job.refused_by:
        only = ready[0]
        return only if len(only.jobs) + len(only.occupied) < only.credit else None
    if job.kept_as:
        return _keeper(job, ready)
    able = [i for i in ready if i.load < i.credit and i.incarnation not in job.refused_by]
    if any(i.lacks for i in ready) and any(job.method not in i.lacks for i in ready):
        able = [i for i in able if job.method not in i.lacks]
    if not able:
        return None
    best = min(able, key=_load)
    ready.remove(best)
    ready.append(best)
    return best


def to_recall(instance: Instance, ready: list[Instance], waiting: Iterable[Job]) -> list[int]:
    """Return the numbers of the jobs that an instance should give back for another, idle one.

    waiting: its jobs that have not begun and may move. None is given back that all idle ones
    have refused, or whose method they lack.
    """
    idle = [i for i in ready if i is not instance and not i.load]
    if not idle:
        return []
    share = -(-sum(i.load for i in ready) // len(ready))
    count = min(max(1, instance.load - share), sum(i.credit for i in idle))
    able = (job.sequence for job in waiting if any(_may_have(i, job) for i in idle))
    return list(islice(able, count))


def _may_have(instance: Instance, job: Job) -> bool:
    return instance.incarnation not in job.refused_by and job.method not in instance.lacks


def _keeper(job: Job, ready: list[Instance]) -> Instance | None:
    """Return the broker that the id of a kept request chooses; None while it has no room."""
    keeping = [i for i in ready if i.journal] or ready
    able = [i for i in keeping if i.incarnation not in job.refused_by]
    if not able:
        return None
    id = job.kept_as.encode()
    best = max(able, key=lambda each: _rank(each, id))
    return best if best.load < best.credit else None


def _rank(instance: Instance, id: bytes) -> bytes:
    number = instance.journal or instance.incarnation
    return blake2b(number.to_bytes(8, "big") + id, digest_size=8).digest()


def _load(instance: Instance) -> int:
    return instance.load
