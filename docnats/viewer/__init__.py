"""A page of a PDF as a picture with its words in boxes, for notebooks.

``boxes`` reads the words, ``rendering`` draws the page, ``view`` puts both together as HTML
and as a static picture.
"""

from __future__ import annotations

from docnats.viewer.view import PageView, page_view

__all__ = ["PageView", "page_view"]
