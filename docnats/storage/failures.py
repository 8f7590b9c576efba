"""Turns what goes wrong between here and S3 into errors that say what to do."""

from __future__ import annotations

from functools import cache

from botocore import exceptions as aws

from docnats.errors import ObjectMissing, StorageError

__all__ = ["code_of", "refusal", "storage_error"]

_OTHER_REGION = "the bucket is in another region: set AWS_DEFAULT_REGION to that one"
_EXPIRED = "the temporary credentials have expired: log in again"

# The codes of the S3 API reference that users can do something about.
_ADVICE = {
    "InvalidAccessKeyId": "wrong credentials, the access key is unknown: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": (
        "wrong credentials, the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY"
    ),
    "AccessDenied": "the credentials do not allow this: check their policy and the bucket's",
    "ExpiredToken": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "NoSuchBucket": "there is no such bucket: check S3_BUCKET, or create it",
    "BucketAlreadyExists": "the bucket belongs to somebody else: choose another name, S3_BUCKET",
    "PermanentRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
}

_PASSING = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"})
"""Codes that AWS asks to try again, whatever the HTTP status they come with."""


def storage_error(error: Exception, attempt: str, endpoint: str) -> StorageError | None:
    """Explain an error of the S3 client or the HTTP client.

    Parameters
    ----------
    error : Exception
        What it raised.
    attempt : str
        What could not be done, to follow "cannot".
    endpoint : str
        URL of the server.

    Returns
    -------
    StorageError or None
        None for an error that has nothing to do with S3.
    """
    if isinstance(error, aws.ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return refusal(status, code_of(error), attempt, endpoint)
    for kinds, advice, transient in _kinds():
        if isinstance(error, kinds):
            told = advice.format(endpoint=endpoint, error=_root(error))
            return StorageError(f"cannot {attempt}: {told}", transient=transient)
    return None


def code_of(error: aws.ClientError) -> str:
    """Return the error code in S3's answer; without one, the HTTP status."""
    return error.response["Error"].get("Code", "")


def refusal(status: int, code: str, attempt: str, endpoint: str) -> StorageError:
    """Explain an answer of S3 by its HTTP status and error code."""
    said = f"cannot {attempt}: S3 at {endpoint} says {code or status}"
    if code in {"NoSuchKey", "404"}:
        return ObjectMissing(f"{said}: there is no such object")
    if advice := _ADVICE.get(code):
        return StorageError(f"{said}: {advice}")
    if status >= 500 or status == 429 or code in _PASSING:
        return StorageError(f"{said}: try again later", transient=True)
    return StorageError(f"{said} (HTTP status {status})")


@cache
def _kinds() -> tuple[tuple[tuple[type[Exception], ...], str, bool], ...]:
    """Return what errors mean, the most specific first, and whether they may pass."""
    import aiohttp

    return (
        (
            (
                aws.NoCredentialsError,
                aws.PartialCredentialsError,
                aws.CredentialRetrievalError,
                aws.NoAuthTokenError,
                aws.TokenRetrievalError,
                aws.SSOError,
                aws.ProfileNotFound,
            ),
            "no usable S3 credentials ({error}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or set up the AWS credential chain",
            False,
        ),
        (
            (TimeoutError, aws.ReadTimeoutError, aws.ConnectTimeoutError),
            "S3 at {endpoint} did not answer in time: check its load and the network, or raise "
            "connect_timeout and read_timeout",
            True,
        ),
        (
            (aws.SSLError, aiohttp.ClientSSLError),
            "no secure connection to S3 at {endpoint} ({error}): check that S3_ENDPOINT_URL is "
            "right to say https, and AWS_CA_BUNDLE if its certificate authority is private",
            False,
        ),
        (
            (aws.ConnectionError, aiohttp.ClientConnectorError),
            "no connection to S3 at {endpoint}: is it running? Check S3_ENDPOINT_URL, the "
            "network and proxies ({error})",
            True,
        ),
        (
            (
                aws.HTTPClientError,
                aws.IncompleteReadError,
                aiohttp.ClientConnectionError,
                aiohttp.ClientPayloadError,
            ),
            "S3 at {endpoint} broke off the connection: try again",
            True,
        ),
        ((aws.BotoCoreError,), "{error}", False),
        ((aiohttp.ClientError,), "the answer of {endpoint} is not that of an S3 server", False),
    )


def _root(error: Exception) -> object:
    """Return the HTTP client's error inside one of botocore's, which says more."""
    return error.kwargs.get("error", error) if isinstance(error, aws.BotoCoreError) else error
