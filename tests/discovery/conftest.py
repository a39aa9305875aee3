"""What every test of discovery asks for."""

from __future__ import annotations

import secrets

import pytest


@pytest.fixture
def mine() -> str:
    """What the names of this test begin with: other programs may announce on this machine."""
    return f"t{secrets.token_hex(6)}"
