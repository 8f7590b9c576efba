"""A JupyterLab server of the tests' own: no user's settings, no network, no token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["JupyterLab"]

START_SECONDS = 60.0

USER_SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
"""Nothing is fetched, saved or taken out of the page without being asked to."""

KERNEL_STARTUP = """
import os, pathlib
os.environ["DOCNATS_HOME"] = str(pathlib.Path("docnats-home").resolve())
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
"""
"""Kernels of one folder share one docnats home, as kernels of one user do; and a batch takes
its time on a large machine too, as there are as many parsers as cores."""


class JupyterLab:
    """A running JupyterLab.

    Parameters
    ----------
    directory : Path
        Empty; the notebooks go to its ``root``, the server's log to ``jupyterlab.log``.

    Attributes
    ----------
    url : str
        Where it is, with a slash at the end.
    root : Path
        The folder it shows.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.root.mkdir()
        self._log = directory / "jupyterlab.log"
        self._runtime = directory / "runtime"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.url = self._wait()
        except BaseException:
            self.stop()
            raise

    def stop_kernels(self, folder: Path) -> None:
        """Shut down the kernels of the notebooks in a folder; they are gone on return."""
        for session in json.loads(self._request("api/sessions")):
            if (self.root / session["path"]).is_relative_to(folder):
                self._request(f"api/sessions/{session['id']}", method="DELETE")

    def stop(self) -> None:
        """End the server and its kernels."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={self.root}",
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
            "--ServerApp.terminals_enabled=False",
            # A session cannot be ended while the server starts its killed kernel again.
            "--KernelManager.autorestart=False",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
        ]

    def _environment(self, directory: Path) -> dict[str, str]:
        startup = directory / "ipython" / "profile_default" / "startup" / "docnats_home.py"
        startup.parent.mkdir(parents=True)
        startup.write_text(KERNEL_STARTUP)
        for name, settings in USER_SETTINGS.items():
            path = directory / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        own = {
            "IPYTHONDIR": "ipython",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))}
        return kept | {name: os.fspath(directory / path) for name, path in own.items()}

    def _wait(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"no JupyterLab yet: {self._log.read_text()}"
            for path in self._runtime.glob(f"jpserver-{self._process.pid}.json"):
                if text := path.read_text():
                    return str(json.loads(text)["url"])
            time.sleep(0.05)

    def _request(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return bytes(response.read())
