"""What is told of a request that a worker has."""

from __future__ import annotations

import pytest

from zmqkit.core.majordomo.rfc_job import Parcel, RfcJob
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed


def kinds(parcels: list[Parcel]) -> list[int]:
    """Which packets they are."""
    return [parcel[0] for parcel in parcels]


def test_the_reply_to_a_request_is_one_packet() -> None:
    job = RfcJob(7, wire.REQUEST)
    assert job.part((b"1",)) == [] and not job.is_over
    assert kinds(job.final((b"2",))) == [wire.REPLY] and job.is_over
    assert job.address == b"\0\0\0\0\0\0\0\7"


def test_a_stream_is_told_as_far_as_there_is_credit() -> None:
    job = RfcJob(7, wire.STREAM, (2, 1000))
    assert kinds(job.part((b"1",)) + job.part((b"2",))) == [wire.ITEM, wire.ITEM]
    assert job.part((b"3",)) == job.final((b"4",)) == [] and not job.is_over
    assert kinds(job.granted(1)) == [wire.ITEM] and not job.is_over
    assert kinds(job.granted(3)) == [wire.ITEM, wire.END] and job.is_over
    job.check()


def test_credit_counts_bytes_too_but_for_the_last_item() -> None:
    job = RfcJob(7, wire.STREAM, (9, 200))
    assert kinds(job.part((bytes(300),))) == [wire.ITEM]
    assert job.part((b"x",)) == []
    assert kinds(job.granted(1)) == [wire.ITEM]


def test_nothing_is_told_of_what_nobody_wants() -> None:
    job = RfcJob(7, wire.STREAM, (1, 200))
    job.part((b"1",))
    job.part((b"2",))
    job.cancelled = True
    job.give_up()
    assert job.granted(1) == job.part((b"3",)) == job.final((b"4",)) == []
    assert job.is_over
    job.check()


def test_more_than_was_told_cannot_be_taken() -> None:
    job = RfcJob(7, wire.STREAM, (1, 200))
    job.part((b"1",))
    with pytest.raises(Malformed, match="grant"):
        job.granted(2)
