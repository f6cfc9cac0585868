"""The header that makes it safe to send an order again.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
"""

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from core.models.idempotency import LONGEST_KEY

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# A text of a structured field has quotes around it; most clients send none.
KEY = r'"[!#-\[\]-~]+"|[!#-\[\]-~]+'

PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": f"^({KEY})$"},
    OpenApiParameter.HEADER,
    description=(
        "Any text of your own, such as a UUID. Sent again with the same body, the request gets the "
        "first answer and nothing is done again. It is kept for a day."
    ),
)


def key_of(request: Request) -> str:
    """Return the key, "" without one. Raises ValidationError."""
    written = request.headers.get(HEADER)
    if written is None:
        return ""
    key = written.strip()
    if len(key) > LONGEST_KEY or not re.fullmatch(KEY, key):
        raise ValidationError(
            {
                HEADER: f"It must be 1 to {LONGEST_KEY} visible characters other than backslash "
                "and quotes, in quotes or not."
            }
        )
    return key.strip('"')


def owner_of(request: Request) -> str:
    """Return whose keys these are: those of a token are also those of what it is rotated to."""
    token: Any = request.auth
    if token is not None:
        return f"token {token.first}"
    return f"user {request.user.pk}"
