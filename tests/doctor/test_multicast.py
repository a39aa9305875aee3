"""Numbers travel as questions of multicast DNS, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from zeroconf import DNSIncoming

from zmqkit.doctor.multicast import number_in, packet

NUMBER = "00112233445566ff"


def test_a_number_comes_out_as_it_went_in() -> None:
    assert number_in(packet(NUMBER)) == NUMBER


def test_other_programs_read_a_question_for_a_name_that_nobody_has() -> None:
    [question] = DNSIncoming(packet(NUMBER)).questions
    assert question.name == f"{NUMBER}.zmqkit-doctor.local."


@pytest.mark.parametrize(
    "data",
    [b"", packet(NUMBER)[:-1], packet(NUMBER) + b"\0", packet("x" * 16), packet(NUMBER)[1:]],
)
def test_what_is_cut_or_longer_is_no_number(data: bytes) -> None:
    assert number_in(data) == ""


@given(some.binary(max_size=80))
def test_garbage_is_no_number(data: bytes) -> None:
    assert number_in(data) == ""
