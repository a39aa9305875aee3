"""README.md is true, and short: its programs run, its sessions print what they show."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import zmqkit
from tests.documents import (
    FENCE,
    LIMIT_S,
    LINK,
    ROOT,
    SPACE,
    Section,
    blocks,
    check,
    masked,
    sections,
    serving,
)

README = (ROOT / "README.md").read_text()
LINES_MAX = 200


def test_readme_is_short() -> None:
    assert README.count("\n") < LINES_MAX


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = [kind for kind, _ in FENCE.findall(README)]
    assert set(kinds) == {"sh", "python", "console"}
    assert kinds.count("sh") == 2, "the demo, and the tests"
    assert README.count("```") == 2 * len(kinds)


def test_links_lead_to_files_of_the_project() -> None:
    assert not [path for path in LINK.findall(README) if not (ROOT / path).exists()]


def test_its_test_is_the_first_of_the_page_whose_tests_run() -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    assert blocks(page, "python")[0] in blocks(README, "python")


@pytest.mark.slow
@pytest.mark.parametrize("section", sections("README.md"), ids=str)
def test_what_readme_shows_runs(section: Section, tmp_path: Path) -> None:
    check(section, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_the_first_program_ends_well(number: signal.Signals, tmp_path: Path) -> None:
    program = blocks(README, "python")[0]
    with serving(program, tmp_path, number), zmqkit.Client("shop", space=SPACE) as client:
        assert client.ready(1, LIMIT_S) == 1


def test_placeholders_hide_only_what_changes() -> None:
    assert masked(["math  service  tcp://127.0.0.1:1  up"]) == masked(
        ["math service tcp://127.0.0.1:22 up"]
    )
    assert masked(["1.4142135623730951"]) == ["1.4142135623730951"]
    assert masked(["lost        none"]) != masked(["lost        1"])
