"""Signed messages: for devices that can sign, and have no safe way to send a token.

After https://github.com/standard-webhooks/standard-webhooks: HMAC-SHA256 over the message's ID, its
time and its body, with a secret of the gateway.
"""

import binascii
import hmac
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.models import Gateway, SecretUnreadable, SignedMessage
from core.models.signed_message import LONGEST_ID

PREFIX = "whsec_"
SECRET_BYTES = 32
LEAST_SECRET_BYTES = 24
VERSION = "v1"
MOST_SIGNATURES = 10
"""In one header: while a secret is changed, a sender may sign with both."""
WINDOW = timedelta(minutes=5)
"""How far the sender's clock may be from ours, and how long a message may take."""
KEPT_FOR = 3 * WINDOW
"""How long an ID is remembered. One that was sent ahead of time is taken for twice the window."""


class NotSigned(ValueError):
    """Says that a message is not from who knows the secret, in the same words whatever is wrong."""

    def __init__(self) -> None:
        super().__init__(
            "The signature is not valid: wrong secret, changed body, or a time more than "
            f"{WINDOW.seconds // 60} minutes from now."
        )


class SentAgain(ValueError):
    """Says that a message was taken before."""

    def __init__(self) -> None:
        super().__init__("This message was taken already: its ID is used up.")


@dataclass(frozen=True)
class Envelope:
    """What the headers of a message say: webhook-id, webhook-timestamp, webhook-signature."""

    message_id: str
    timestamp: str
    signatures: str


def new_secret() -> str:
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key of a secret: what is coded in base64 after the prefix. Raises ValueError."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("A secret is whsec_ and then base64.") from None
    if len(key) < LEAST_SECRET_BYTES:
        raise ValueError(f"A secret has at least {LEAST_SECRET_BYTES} bytes.")
    return key


def sign(secret: str, message_id: str, sent_at: datetime, body: bytes) -> Envelope:
    """Sign a message, as a device does."""
    timestamp = str(int(sent_at.timestamp()))
    signature = _signature(key_of(secret), message_id, timestamp, body)
    return Envelope(message_id, timestamp, f"{VERSION},{signature}")


def check_signature(gateway_pk: int, envelope: Envelope, body: bytes) -> Gateway:
    """Return the gateway whose secret signed the message. Raises NotSigned.

    A gateway that is not there takes as long as one with another secret.
    """
    gateway = Gateway.objects.present().filter(pk=gateway_pk).first()
    try:
        key = key_of(gateway.credential.reveal()) if gateway else b""
    except (SecretUnreadable, ValueError):
        key = b""
    expected = _signature(
        key or secrets.token_bytes(SECRET_BYTES), envelope.message_id, envelope.timestamp, body
    )
    given = envelope.signatures.split(" ", MOST_SIGNATURES)[:MOST_SIGNATURES]
    # All are compared, whichever fits: the time tells nothing.
    fits = [_is_same(one, f"{VERSION},{expected}") for one in given]
    if gateway is None or not key or not any(fits) or not _is_timely(envelope.timestamp):
        raise NotSigned
    return gateway


def use_up(gateway: Gateway, envelope: Envelope) -> None:
    """Remember the message's ID, in the transaction that stores the message. Raises SentAgain."""
    messages = SignedMessage.objects.filter(gateway=gateway)
    messages.filter(received_at__lt=timezone.now() - KEPT_FOR).delete()
    try:
        # A savepoint: PostgreSQL does nothing more in a transaction after an error.
        with transaction.atomic():
            SignedMessage.objects.create(gateway=gateway, message_id=envelope.message_id)
    except IntegrityError:
        raise SentAgain from None


def is_id(text: str) -> bool:
    """Return whether a text may be a message's ID: visible ASCII."""
    return 0 < len(text) <= LONGEST_ID and text.isascii() and text.isprintable()


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return b64encode(hmac.digest(key, signed, "sha256")).decode()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())


def _is_timely(timestamp: str) -> bool:
    # Bounded: fromtimestamp() fails for a larger number.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        return False
    sent_at = datetime.fromtimestamp(int(timestamp), UTC)
    return abs(timezone.now() - sent_at) <= WINDOW
