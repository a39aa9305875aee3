"""The store that zmqkit has itself, in memory and with a journal, keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores.contract import ALL_DURABLE, DURABLE_RULES, RULES, Rule, name_of, prove
from zmqkit.stores.ledger_store import LedgerStore


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_in_memory(rule: Rule) -> None:
    prove(rule, lambda: LedgerStore("thumbnails"))


@pytest.mark.parametrize("rule", [*RULES, *DURABLE_RULES], ids=name_of)
def test_with_a_journal(rule: Rule, tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.journal"
    prove(rule, lambda: LedgerStore("thumbnails", journal=path), ALL_DURABLE)
