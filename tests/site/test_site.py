"""The site that `tox -e docs` has built in build/site: its links lead on."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import zmqkit

pytestmark = pytest.mark.slow

SITE = Path(__file__).resolve().parents[2] / "build" / "site"


class Page(HTMLParser):
    """What a page of the site has: its anchors, and the links in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    """Each page of the site by its path."""
    if not SITE.exists():
        pytest.skip("tox -e docs builds the site first")
    return {path: Page(path) for path in sorted(SITE.rglob("*.html"))}


def broken(pages: dict[Path, Page]) -> Iterator[str]:
    """Each link within the site that leads nowhere."""
    for page in pages.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve()
            if not parts.path:
                target = page.path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.exists() or (target in pages and anchor not in pages[target].anchors):
                yield f"{page.path.relative_to(SITE)}: {link}"


def test_links_within_the_site_lead_on(pages: dict[Path, Page]) -> None:
    assert [*broken(pages)] == []


def test_each_document_is_a_page(pages: dict[Path, Page]) -> None:
    docs = SITE.parents[1] / "docs"
    built = {path.relative_to(SITE).with_suffix("") for path in pages}
    assert {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")} <= built


def test_each_public_name_is_in_the_reference(pages: dict[Path, Page]) -> None:

    found = set().union(*(page.anchors for page in pages.values()))
    missing = [
        name
        for name in zmqkit.__all__
        if not name.startswith("__") and not {f"zmqkit.{name}", f"zmqkit.errors.{name}"} & found
    ]
    assert missing == []
