"""Opens the panel that suits the place, and keeps it from harming the batch."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, get_args

from docnats.errors import ConfigError
from docnats.models import Progress

__all__ = ["Kind", "Panel", "check_kind", "open_panel"]

log = logging.getLogger(__name__)

Kind = Literal["auto", "widget", "text", "none"]


class Panel(Protocol):
    """Shows how far a batch is; all but ``release`` are called from one thread, any thread."""

    def update(self, progress: Progress, note: str | None = None) -> None:
        """Show the batch as it is now; cheap enough for 5 calls a second.

        Parameters
        ----------
        note : str, optional
            A sentence for the user, for example that a connection was lost; it is shown until
            an update comes without one.
        """

    def release(self, progress: Progress) -> None:
        """Let go of the terminal: the user gets the prompt back, and the batch goes on.

        To be called on the user's thread, while another one updates.
        """

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Show the last state, to stay; later calls change nothing.

        Parameters
        ----------
        note : str, optional
            A sentence for the user, for example why the batch is not complete.
        """


def check_kind(kind: object) -> None:
    """Raise a ConfigError unless there is such a kind of panel."""
    if kind not in get_args(Kind):
        raise ConfigError(f"progress={kind!r}: it is 'auto', 'widget', 'text' or 'none'")


def open_panel(
    progress: Progress,
    *,
    filenames: Iterable[str] = (),
    kind: Kind = "auto",
    background: bool = False,
) -> Panel:
    """Open a panel where the caller's output goes; to be called on the user's own thread.

    Parameters
    ----------
    filenames : iterable of str
        The documents' names in the order of ``progress.snapshot``; a widget shows them.
    kind : {"auto", "widget", "text", "none"}
        ``auto``: a widget in a Jupyter kernel, text on stderr elsewhere and where widgets are
        known to stand still. ``widget`` insists on one wherever there is an IPython shell.
    background : bool
        The user gets the prompt back while the batch goes on: a terminal then shows a few
        lines, as a bar would be drawn over what is being typed.

    Returns
    -------
    Panel
        Its methods never raise: a display that fails is logged and goes blind.

    Raises
    ------
    ConfigError
        There is no such kind.

    Examples
    --------
    >>> panel = open_panel(batch.table.progress())  # doctest: +SKIP
    >>> table = await batch.follow(panel.update)  # doctest: +SKIP
    >>> panel.finish(table.progress())  # doctest: +SKIP
    """
    check_kind(kind)
    return _Shielded(lambda: _open(progress, filenames, kind, background))


def _open(progress: Progress, filenames: Iterable[str], kind: Kind, background: bool) -> Panel:
    if kind == "none":
        return _Blank()
    if _shows_widgets(kind):
        try:
            from docnats.panel.widget import WidgetPanel  # loads ipywidgets: in kernels only

            return WidgetPanel(progress, filenames)
        except Exception:
            # Whatever is wrong with the kernel's widgets, text needs none of them.
            log.warning("there is no widget, so progress is shown as text", exc_info=True)
    from docnats.panel.terminal import open_terminal

    return open_terminal(progress, background=background)


def _shows_widgets(kind: Kind) -> bool:
    shell = _ipython_shell()
    if kind == "auto":
        return getattr(shell, "kernel", None) is not None and not _widgets_stand_still()
    return kind == "widget" and shell is not None


def _widgets_stand_still() -> bool:
    """Tell whether this frontend ignores what a thread tells a widget.

    marimo shows no Jupyter displays at all; Colab shows them, but does not update a widget
    from a thread (https://github.com/googlecolab/colabtools/issues/3373).
    """
    marimo = sys.modules.get("marimo")
    in_marimo = marimo is not None and bool(marimo.running_in_notebook())
    return in_marimo or "google.colab" in sys.modules


def _ipython_shell() -> object | None:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


class _Blank:
    """Shows nothing."""

    def update(self, progress: Progress, note: str | None = None) -> None:
        pass

    def release(self, progress: Progress) -> None:
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

    def update(self, progress: Progress, note: str | None = None) -> None:
        self._attempt(lambda: self._panel.update(progress, note))

    def release(self, progress: Progress) -> None:
        self._attempt(lambda: self._panel.release(progress))

    def finish(self, progress: Progress, note: str | None = None) -> None:
        self._attempt(lambda: self._panel.finish(progress, note))
        self._panel = _Blank()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            self._context.copy().run(action)  # a context can be entered by one thread only
        except Exception:
            # Whatever a frontend, a closed stream or a terminal raises, the jobs matter more.
            log.warning("the progress panel failed and stops showing anything", exc_info=True)
            self._panel = _Blank()
