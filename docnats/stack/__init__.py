"""The embedded stack: a real nats-server, a real S3 server and workers on this machine."""

from docnats.stack.client import ProcessStatus
from docnats.stack.local import LocalStack
from docnats.stack.named import NamedServers
from docnats.stack.workers import WORKER_COMMAND

__all__ = ["WORKER_COMMAND", "LocalStack", "NamedServers", "ProcessStatus"]
