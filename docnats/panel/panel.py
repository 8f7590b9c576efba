"""Opens the panel that suits the place, and keeps it from harming the batch."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable
from typing import Literal, Protocol

from docnats.models import Progress

__all__ = ["Kind", "Panel", "open_panel"]

log = logging.getLogger(__name__)

Kind = Literal["auto", "widget", "text", "none"]


class Panel(Protocol):
    """Shows how far a batch is; both methods are called from one thread, any thread."""

    def update(self, progress: Progress) -> None:
        """Show the batch as it is now; cheap enough for 5 calls a second."""

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Show the last state, to stay; later calls change nothing.

        Parameters
        ----------
        note : str, optional
            A sentence for the user, for example why the batch is not complete.
        """


def open_panel(progress: Progress, *, kind: Kind = "auto") -> Panel:
    """Open a panel where the caller's output goes; to be called on the user's own thread.

    Parameters
    ----------
    kind : {"auto", "widget", "text", "none"}
        ``auto``: a widget in a Jupyter kernel, text on stderr elsewhere. ``widget`` insists
        on it in an IPython shell that is not known to show widgets.

    Returns
    -------
    Panel
        Its methods never raise: a display that fails is logged and goes blind.

    Examples
    --------
    >>> panel = open_panel(batch.table.progress())  # doctest: +SKIP
    >>> table = await batch.follow(panel.update)  # doctest: +SKIP
    >>> panel.finish(table.progress())  # doctest: +SKIP
    """
    return _Shielded(lambda: _open(progress, kind))


def _open(progress: Progress, kind: Kind) -> Panel:
    if kind == "none":
        return _Blank()
    if _shows_widgets(kind):
        from docnats.panel.widget import WidgetPanel  # loads ipywidgets: in kernels only

        return WidgetPanel(progress)
    from docnats.panel.terminal import open_terminal

    return open_terminal(progress)


def _shows_widgets(kind: Kind) -> bool:
    shell = _ipython_shell()
    if kind == "auto":
        return getattr(shell, "kernel", None) is not None and not _in_marimo()
    return kind == "widget" and shell is not None


def _in_marimo() -> bool:
    """Tell whether this is a marimo notebook, which shows no Jupyter displays."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def _ipython_shell() -> object | None:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


class _Blank:
    """Shows nothing."""

    def update(self, progress: Progress) -> None:
        pass

    def finish(self, progress: Progress, note: str | None = None) -> None:
        pass


class _Shielded:
    """A panel that works in the caller's context and whose failures stop nothing else.

    In a kernel the context holds the cell that is being run: messages sent in it from another
    thread, even after the cell has returned, still belong to that cell.
    """

    def __init__(self, opener: Callable[[], Panel]) -> None:
        self._panel: Panel = _Blank()
        self._context = contextvars.copy_context()
        self._attempt(lambda: setattr(self, "_panel", opener()))

    def update(self, progress: Progress) -> None:
        self._attempt(lambda: self._panel.update(progress))

    def finish(self, progress: Progress, note: str | None = None) -> None:
        self._attempt(lambda: self._panel.finish(progress, note))
        self._panel = _Blank()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            self._context.run(action)
        except Exception:
            # Whatever a frontend, a closed stream or a terminal raises, the jobs matter more.
            log.warning("the progress panel failed and stops showing anything", exc_info=True)
            self._panel = _Blank()
