"""Brings the job table in line with what really happened; idempotent, for anybody to run."""

from docnats.reconcile.process import this_sender
from docnats.reconcile.reconcile import reconcile
from docnats.reconcile.senders import settle_dead_senders, settle_unsent

__all__ = ["reconcile", "settle_dead_senders", "settle_unsent", "this_sender"]
