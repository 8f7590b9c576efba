"""aiobotocore's HTTP client, made to look whom it talks to.

By itself it takes the certificate of any host, as botocore's contexts leave that check to urllib3,
which is not there; and through a proxy it takes any certificate at all.
"""

from __future__ import annotations

import ssl

from aiobotocore.httpsession import AIOHTTPSession

__all__ = ["VerifiedSession"]


class VerifiedSession(AIOHTTPSession):
    """Takes a certificate only of the host that was asked for, also through a proxy."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc] # not in the stubs
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        context: ssl.SSLContext | None
        context = super()._setup_proxy_ssl_context(proxy_url)  # type: ignore[misc] # not in the stubs
        return context or self._get_ssl_context()
