"""Every error answers whether the call may have run."""

from __future__ import annotations

import pytest

import zmqkit

KINDS = [kind for name in zmqkit.__all__ if isinstance(kind := getattr(zmqkit, name), type)]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if issubclass(kind, zmqkit.ZmqkitError)]
)
def test_every_error_says_whether_the_call_may_have_run(kind: type[zmqkit.ZmqkitError]) -> None:
    raised = issubclass(kind, zmqkit.RemoteError)
    error = kind("ValueError", "no") if raised else kind("no")
    assert error.may_have_run is raised


def test_what_may_have_run_is_said_when_it_is_made() -> None:
    assert zmqkit.PeerLost("gone", may_have_run=True).may_have_run is True
    assert zmqkit.PeerLost.may_have_run is False
