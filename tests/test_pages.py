"""The pages of docs/ that are programs are true: what they show runs, as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import (
    FENCE,
    LINK,
    ROOT,
    Section,
    check,
    sections,
)

PAGES = (
    "docs/calls.md",
    "docs/command-line.md",
    "docs/guides/development.md",
    "docs/guides/from-celery.md",
    "docs/guides/from-pyzmq.md",
    "docs/guides/from-zerorpc.md",
    "docs/guides/idempotence.md",
    "docs/guides/multiprocessing.md",
    "docs/network.md",
    "docs/publishing.md",
    "docs/requests.md",
    "docs/tasks.md",
)
SHOWN = {"sh", "toml", "ini", "text"}  # what no test runs

SECTIONS = [section for page in PAGES for section in sections(page)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_known(page: str) -> None:
    text = (ROOT / page).read_text()
    kinds = [kind for kind, _ in FENCE.findall(text)]
    assert set(kinds) <= {"python", "console", *SHOWN}
    assert text.count("```") == 2 * len(kinds)


def test_links_lead_to_files_of_the_project() -> None:
    assert [
        f"{page.relative_to(ROOT)}: {link}"
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for link in LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_what_a_page_shows_runs(section: Section, tmp_path: Path) -> None:
    check(section, tmp_path)
