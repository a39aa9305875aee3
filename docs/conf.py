"""How the site is built of these pages and of the docstrings: `tox -e docs`.

The pages are Markdown that also reads well where no site is built. A link in them leads to a
file of the project. Some of those files stand outside this folder and are pages of the site,
too. PAGES says which page is which file, and links are turned to follow.
"""

import os.path
import re
from importlib.metadata import version as version_of
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

# Pages whose text is that of a file elsewhere; the page's own text follows it.
PAGES = {
    "index": "README.md",
    "project/benchmarks": "benchmarks/README.md",
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/devices": "devices/README.md",
}
EXAMPLES = "project/examples"

# Classes that only roles, or fixtures and worlds of tests, make; how is not for users.
MADE_BY_ROLES = (
    *("Background", "Call", "Caller", "CurrentTask", "Instance", "Mapped", "Request"),
    *("Result", "Roles", "Stream", "Submitted", "Ticket"),
)

# How docstrings begin what they say of an argument, and of errors.
ARGUMENT = re.compile(r"(?:^|(?<=[.;:] ))([a-z_]+(?:=\w+)?): ")
RAISES = re.compile(r"(?<=\.) (?=Raises |Returns )")

# What examples of docs/wire.md are called, and has no colours.
PLAIN = ("hex", "txt")

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")

project = "zmqkit"
author = project_copyright = "the zmqkit authors"
version = release = version_of("zmqkit")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
# Each heading has the anchor that GitHub gives it, so that one link serves there and here.
myst_heading_anchors = 4

# Docstrings are plain text in which backticks mean code.
default_role = "code"
autodoc_member_order = "bysource"
add_module_names = False
maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "zmqkit"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
highlight_language = "text"


def page_of(path: str) -> str:
    """The page, below this folder, of a file of the project, given from the project's root."""
    for page, file in PAGES.items():
        if path == file:
            return f"{page}.md"
    if path.startswith("examples"):
        return f"{EXAMPLES}.md"
    return os.path.relpath(path, "docs")


def turned(text: str, folder: str, page: str) -> str:
    """The text with each link as it has to be on a page; in a folder's file it was relative."""

    def turn(link: re.Match[str]) -> str:
        target = page_of(os.path.normpath(os.path.join(folder, link[1])))
        return f"]({os.path.relpath(target, os.path.dirname(page))}"

    return LINK.sub(turn, text)


def examples() -> str:
    """The programs of examples/, one after the other."""
    return "".join(
        f"\n## {path.name}\n\n```python\n{path.read_text()}```\n"
        for path in sorted((ROOT / "examples").glob("*.py"))
    )


def read(_: Sphinx, page: str, source: list[str]) -> None:
    """Give a page the text that it stands for, and turn its links."""
    text = turned(source[0], os.path.join("docs", os.path.dirname(page)), page)
    if page in PAGES:
        file = PAGES[page]
        text = turned((ROOT / file).read_text(), os.path.dirname(file), page) + text
    source[0] = text + examples() if page == EXAMPLES else text


def signature(_: Sphinx, kind: str, name: str, *__: object) -> tuple[str, None] | None:
    """Leave out the arguments of a class that only roles make."""
    module, _, own = name.rpartition(".")
    hidden = kind == "class" and own in MADE_BY_ROLES and module != "zmqkit.types"
    return ("", None) if hidden else None


def listed(_: Sphinx, kind: str, name: str, of: object, how: object, lines: list[str]) -> None:
    """Make a list of what a docstring says of each argument: `name: what it is.`"""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(map(as_list, paragraphs)).splitlines()


def as_list(paragraph: str) -> str:
    """The paragraph, as a list if it is one of arguments."""
    text = " ".join(paragraph.split())
    start, *items = ARGUMENT.split(RAISES.sub("\n\n", text))
    if not items:
        return paragraph
    rows = [
        f"- **{name}**: {what.strip()}" for name, what in zip(*[iter(items)] * 2, strict=True)
    ]
    return "\n\n".join([start.strip(), *rows]).strip()


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    for language in PLAIN:
        app.add_lexer(language, TextLexer)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", listed)
    app.connect("source-read", read)
