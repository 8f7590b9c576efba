"""Batches that are done with: kept in S3, out of NATS, and checked later."""

from __future__ import annotations

from docnats.models import Receipt
from docnats.notebook.session import current_session
from docnats.service import Verification

__all__ = ["archive", "verify"]


def archive(batch: str) -> Receipt:
    """Move the job table of a batch out of NATS into S3, next to the results.

    The table becomes a Parquet file, with a receipt that has the hashes of the table and of
    every result object. :func:`docnats.jobs`, :func:`docnats.attach`, :func:`docnats.batches`
    and ``.docnats`` go on as before. Doing it again changes nothing.

    Parameters
    ----------
    batch : str
        Its id; all its jobs must have ended.

    Returns
    -------
    Receipt
        As it is stored: counts, timings, options, versions, hashes.

    Raises
    ------
    ConfigError
        There is no such batch.
    DocnatsError
        A job has not ended; nothing was changed.

    Examples
    --------
    >>> archive("papers-2026").counts  # doctest: +SKIP
    """
    session = current_session()
    return session.run(session.service().archive(batch))


def verify(batch: str) -> Verification:
    """Check that an archived batch still is what its receipt says, byte for byte.

    It reads the job table and every result object.

    Parameters
    ----------
    batch : str
        Its id.

    Returns
    -------
    Verification
        ``.intact``, and in ``.mismatches`` the objects that are gone or differ.

    Raises
    ------
    ConfigError
        The batch is not archived.
    DocnatsError
        The receipt itself is gone, or cannot be read.

    Examples
    --------
    >>> verify("papers-2026").intact  # doctest: +SKIP
    True
    """
    session = current_session()
    return session.run(session.service().verify(batch))
