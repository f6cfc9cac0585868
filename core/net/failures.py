"""What went wrong with a call, in a sentence.

Requests, urllib3 and the standard library raise some thirty errors, one within the other.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

from requests import RequestException
from urllib3.exceptions import DecodeError, IncompleteRead, ReadTimeoutError

from core.net.errors import ApiError, ApiRefused, Unreachable


class Failure(NamedTuple):
    """A way for a call to fail. `again`: a GET is tried again."""

    kinds: tuple[type[BaseException], ...]
    sentence: str
    again: bool = False
    raises: type[ApiError] | type[ApiRefused] = ApiError


# The first row that fits any of the errors behind the error.
_FAILURES = (
    Failure(
        (TimeoutError, ReadTimeoutError),
        "did not answer within {seconds:g} s.",
        raises=Unreachable,
    ),
    Failure((DecodeError,), "answered something that cannot be decompressed."),
    Failure(
        (socket.gaierror, UnicodeError),
        "has a name that cannot be looked up ({reason}).",
        raises=Unreachable,
    ),
    Failure(
        (ssl.SSLCertVerificationError,),
        "has a certificate that is not trusted ({reason}). "
        "If it is your own, let SSL_CERT_FILE name the file with its authority.",
        raises=ApiRefused,
    ),
    Failure((ConnectionRefusedError,), "refused the connection.", again=True, raises=Unreachable),
    Failure(
        (ConnectionError, IncompleteRead, http.client.IncompleteRead, ssl.SSLEOFError),
        "broke off the connection.",
        again=True,
        raises=Unreachable,
    ),
    Failure(
        (ssl.SSLError,), "does not speak TLS as we do ({reason}): is it http rather than https?"
    ),
    Failure((OSError,), "cannot be reached ({reason}).", raises=Unreachable),
)
_NOT_HTTP = Failure((), "answered something that is not HTTP.")


def classify(error: BaseException) -> tuple[Failure, str]:
    """Return what kind of failure this is, and the system's words for it."""
    causes = list(_causes(error))
    for failure in _FAILURES:
        for cause in causes:
            if isinstance(cause, failure.kinds):
                reason = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "")
                return failure, str(reason or "no details")
    return _NOT_HTTP, ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it.

    Left out are requests' own, which are all OSErrors and would fit the last row, and those of
    earlier calls.
    """
    cause: BaseException | None = error
    while cause and not isinstance(cause, ApiError | ApiRefused):
        if not isinstance(cause, RequestException):
            yield cause
        cause = cause.__cause__ or cause.__context__
