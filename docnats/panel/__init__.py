"""The live progress of a batch: a widget in a notebook, a bar or lines on stderr elsewhere."""

from docnats.panel.panel import Kind, Panel, check_kind, open_panel

__all__ = ["Kind", "Panel", "check_kind", "open_panel"]
