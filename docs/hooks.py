"""Adapts Markdown that is also read in the repository to the site: `mkdocs build` calls `on_page_…`.

README.md, SECURITY.md -> index.md, security.md     links into docs/ lose their prefix
any page               -> the same page             a link to a file outside docs/ becomes that file's path
a page of one section  -> without the column of contents, whose room its tables need (`on_page_content`)
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FROM_THE_ROOT = {"index.md": "README.md", "security.md": "SECURITY.md"}
PICTURE = re.compile(r"^!\[[^\]]*\]\((docs/[^)]+)\)\n", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page's text with links that work inside the site."""
    source = page.file.src_uri
    if source not in FROM_THE_ROOT:
        return LINK.sub(lambda link: _of_the_site(link, posixpath.dirname(f"docs/{source}")), markdown)
    text = PICTURE.sub(_picture_if_there, (ROOT / FROM_THE_ROOT[source]).read_text())
    return LINK.sub(lambda link: _of_the_site(link, ""), text).replace("](docs/", "](")


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Returns the page's HTML; the theme leaves out the column of contents where that would have the title alone."""
    if not any(title.children for title in page.toc):
        page.meta["hide"] = ["toc"]
    return html


def _picture_if_there(picture: re.Match[str]) -> str:
    return picture[0] if (ROOT / picture[1]).is_file() else ""


def _of_the_site(link: re.Match[str], folder: str) -> str:
    """Returns the link unchanged where its target is in docs/, else its text and the path in the repository."""
    path = posixpath.normpath(posixpath.join(folder, link[2]))
    if path.startswith("docs/"):
        return link[0]
    for page, file in FROM_THE_ROOT.items():
        if path == file:
            return f"[{link[1]}]({posixpath.relpath(f'docs/{page}', folder or '.')}{link[3] or ''})"
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"a page in {folder or 'the root'} links {link[2]}, which does not exist")
    return link[1] if link[1].strip("`") == path else f"{link[1]} (`{path}`)"
