"""Whoever finds nobody is pointed to the command that sees also those who do not answer."""

from __future__ import annotations

import pytest

from zmqkit.cli.searched import searched_for_all


@pytest.mark.parametrize(
    ("name", "doctor"),
    [(None, "zmqkit doctor"), ("tea", "zmqkit doctor tea"), ("a b", "zmqkit doctor 'a b'")],
)
def test_a_process_that_is_stopped_is_a_cause_and_the_doctor_sees_it(
    name: str | None, doctor: str
) -> None:
    said = searched_for_all(name, insecure=False)
    assert "none is running" in said and "; perhaps one is stopped or stuck" in said
    assert said.endswith(f"; `{doctor}` looks closer")
