"""The guides to other packages are true: what they show runs, and prints what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.documents import (
    LIMIT_S,
    PRINTED,
    ROOT,
    Section,
    blocks,
    check,
    environment,
    sections,
)

PAGES = ("docs/guides/fastapi.md", "docs/guides/processes.md", "docs/guides/values.md")
NOTEBOOK = ROOT / "docs" / "guides" / "jupyter.md"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "section", [each for page in PAGES for each in sections(page)], ids=str
)
def test_what_a_guide_shows_runs(section: Section, tmp_path: Path) -> None:
    check(section, tmp_path, mode={})


def test_cells_print_what_they_show(tmp_path: Path) -> None:
    cells = [*map(nbformat.v4.new_code_cell, blocks(NOTEBOOK.read_text(), "python"))]
    path = tmp_path / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    subprocess.run(
        [sys.executable, "-c", "from nbclient.cli import main; main()", "--inplace", path],
        timeout=LIMIT_S,
        env={**environment(tmp_path), "IPYTHONDIR": str(tmp_path)},
        check=True,
    )
    for cell in nbformat.read(path, as_version=4).cells:
        printed = [output.get("text", repr(output)) for output in cell.outputs]
        assert "".join(printed).splitlines() == PRINTED.findall(cell.source)
