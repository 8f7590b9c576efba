"""What mkdocs calls while it builds the site (``hooks`` in mkdocs.yml)."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generate import fill  # mkdocs puts this folder on the path
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OUTSIDE = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Documents of the repository that are pages too, and under which name."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>(~?)([\w.]+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that live outside of ``docs/``."""
    root = Path(config.config_file_path).parent
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=os.fspath(root / source)))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files, **_: Any
) -> str:
    """Fill in what is generated, and let links lead to pages in place of files.

    Of a link to a file that is no page of the site, such as an example, the text stays; one to
    a file that is not there stays as it is, and mkdocs warns of it.
    """
    root = Path(config.config_file_path).parent
    this = page.file.src_uri
    source = next((s for s, name in OUTSIDE.items() if name == this), f"docs/{this}")

    def led(link: re.Match[str]) -> str:
        text, target, anchor = link.groups(default="")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        file = files.get_file_from_path(OUTSIDE.get(path, path.removeprefix("docs/")))
        if file is not None and file.inclusion.is_included():
            start = posixpath.dirname(this) or "."
            return f"[{text}]({posixpath.relpath(file.src_uri, start)}{anchor})"
        return text if (root / path).exists() else link[0]

    try:
        return _LINK.sub(led, fill(markdown))
    except ValueError as error:
        raise PluginError(f"{this}: {error}") from error


def on_page_content(html: str, **_: Any) -> str:
    """Show the roles of reStructuredText in docstrings as the names they mean."""

    def named(role: re.Match[str]) -> str:
        return f"<code>{role[2].rpartition('.')[2] if role[1] else role[2]}</code>"

    return _ROLE.sub(named, html)
