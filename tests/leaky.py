"""A module that leaves a socket and a file open where it is imported."""

import socket
import tempfile

SOCKET = socket.socket()
FILE = tempfile.TemporaryFile()  # noqa: SIM115 - left open
