"""Which places a job may send a worker to: the configured buckets, on the configured endpoints.

A job message is written by whoever may publish on the queue. What it names is compared with
the settings before a connection is opened, and names are not resolved to find out: a URL is
allowed for what it says, letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from docnats.config import S3Config
from docnats.errors import PlaceForbidden

__all__ = ["Allowlist"]

_PORTS = {"http": 80, "https": 443}

_AWS = re.compile(
    r"s3(-accelerate|-fips)?(\.dualstack)?([.-][a-z]{2}(-[a-z]+)+-\d)?\.amazonaws\.com(\.cn)?"
)
"""The endpoints of AWS, whose buckets are unique over all of them; from the S3 user guide."""

_ODD = re.compile(r"[^!-~]|\\")
"""What clients and servers do not all read in the same way."""

_LONGEST = 100
"""Characters of a forbidden place that are shown."""


class _Endpoint(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str


class Allowlist:
    """Tells what is inside of the configured storage.

    Parameters
    ----------
    config : S3Config
        Its endpoint, ``presigned_endpoints``, bucket and ``read_buckets``.
    bucket : str, optional
        Of documents and results, where the storage is not S3.

    Examples
    --------
    >>> places = Allowlist(S3Config(endpoint_url="http://127.0.0.1:9000", bucket_name="papers"))
    >>> places.check_read("http://127.0.0.1:9000/papers/raw/1.pdf?X-Amz-Signature=…")
    >>> places.check_read("http://169.254.169.254/papers/raw/1.pdf")
    Traceback (most recent call last):
    docnats.errors.PlaceForbidden: …
    """

    def __init__(self, config: S3Config, bucket: str | None = None) -> None:
        urls = [url for url in (config.endpoint_url, *config.presigned_endpoints) if url]
        self._endpoints = [_endpoint(urlsplit(url)) for url in urls]
        self._aws = config.endpoint_url is None
        self._bucket = bucket or config.bucket_name
        self._readable = (self._bucket, *config.read_buckets)

    def check_bucket(self, bucket: str) -> None:
        """Raise a ``PlaceForbidden`` unless documents of a bucket may be read."""
        if bucket not in self._readable:
            raise PlaceForbidden(
                f"the bucket {_shown(bucket)} is not one of this worker's, {self._names}: give "
                "clients and workers the same S3_BUCKET, or name it in S3_READ_BUCKETS if its "
                "documents are to be processed in place"
            )

    def check_read(self, url: str) -> None:
        """Raise a ``PlaceForbidden`` unless a presigned URL leads to a bucket to read from."""
        self._check(url, self._readable)

    def check_write(self, url: str) -> None:
        """Raise a ``PlaceForbidden`` unless a presigned URL leads to the bucket of the results."""
        self._check(url, (self._bucket,))

    def _check(self, url: str, buckets: Iterable[str]) -> None:
        parts = _parts(url)
        place = parts and _endpoint(parts)
        if place is None or not any(self._holds(place, bucket) for bucket in buckets):
            raise PlaceForbidden(
                f"the presigned URL leads to {_origin(parts)}, outside of this worker's storage "
                f"({self._names}): nothing was sent there. An endpoint known by other names needs "
                "S3_PRESIGNED_ENDPOINTS, another bucket S3_READ_BUCKETS"
            )

    def _holds(self, place: _Endpoint, bucket: str) -> bool:
        """Tell whether a place is inside of a bucket, in the path style or as a virtual host."""
        if self._aws and place.scheme == "https" and place.port == _PORTS["https"]:
            virtual = place.host.startswith(f"{bucket}.")
            host = place.host.removeprefix(f"{bucket}.") if virtual else place.host
            start = "/" if virtual else f"/{bucket}/"
            if _AWS.fullmatch(host) and place.path.startswith(start):
                return True
        return any(_within(place, endpoint, bucket) for endpoint in self._endpoints)

    @property
    def _names(self) -> str:
        hosts = ["AWS"] if self._aws else []
        hosts += [f"{e.scheme}://{e.host}:{e.port}{e.path}" for e in self._endpoints]
        return f"{', '.join(self._readable)} at {', '.join(hosts)}"


def _within(place: _Endpoint, endpoint: _Endpoint, bucket: str) -> bool:
    if (place.scheme, place.port) != (endpoint.scheme, endpoint.port):
        return False
    if place.host == f"{bucket}.{endpoint.host}":
        return place.path.startswith(f"{endpoint.path}/")
    return place.host == endpoint.host and place.path.startswith(f"{endpoint.path}/{bucket}/")


def _parts(url: str) -> SplitResult | None:
    """Return a URL's parts; None for one that not everybody reads in the same way."""
    if _ODD.search(url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return None
    steps = unquote(parts.path).replace("\\", "/").split("/")
    plain = "@" not in parts.netloc and not {".", ".."} & set(steps)
    return parts if usable and plain else None


def _endpoint(parts: SplitResult) -> _Endpoint:
    port = parts.port or _PORTS[parts.scheme]
    return _Endpoint(parts.scheme, parts.hostname or "", port, parts.path)


def _origin(parts: SplitResult | None) -> str:
    """Return where a URL leads without its path and query, which are secrets."""
    if parts is None:
        return "no address that can be trusted"
    return _shown(f"{parts.scheme}://{parts.netloc}")


def _shown(text: str) -> str:
    return repr(text[:_LONGEST])
