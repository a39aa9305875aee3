"""The pictures of docs/ are those that their program draws, and each is shown somewhere."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"


def test_the_pictures_are_as_drawn() -> None:
    pictures = runpy.run_path(str(FOLDER / "draw.py"))["PICTURES"]
    drawn = {f"{picture.name}.svg": picture.draw() for picture in pictures}
    assert {path.name: path.read_text() for path in FOLDER.glob("*.svg")} == drawn
    for text in drawn.values():
        ElementTree.fromstring(text)


def test_each_picture_is_shown() -> None:
    texts = [(ROOT / "README.md").read_text()]
    texts += [path.read_text() for path in (ROOT / "docs").rglob("*.md")]
    assert [
        path.name
        for path in FOLDER.glob("*.svg")
        if not any(f"pictures/{path.name}" in text for text in texts)
    ] == []
