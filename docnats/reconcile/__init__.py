"""Brings the job table in line with what really happened; idempotent, for anybody to run."""

from docnats.reconcile.reconcile import reconcile

__all__ = ["reconcile"]
