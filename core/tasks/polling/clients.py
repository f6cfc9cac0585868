"""Make vendor clients: a client is bound to one gateway, with its address, credential and limits.

This is the only place that decrypts a credential.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import transaction

from core import vendors
from core.models import Gateway, Secret
from core.models.connections import release_connection
from core.net.errors import ApiRefused
from core.tasks.polling.backoff import OURS, complaint
from core.tasks.polling.rate_limit import pace_for
from core.vendors import Vendor


def client_for(
    gateway: Gateway, timeout_seconds: float | None = None, *, is_command: bool = False
) -> Vendor:
    """Make the client of a gateway. Raises SecretUnreadable and vendors.UnknownVendor.

    The deadline covers all that the client is asked, from its first call on, but not what it waits
    for the vendor's rate limit. There, a client for a command goes before clients that only read.
    """
    # It loads requests, which takes longer than a poll that has no gateway to ask.
    from core.net.http import Http

    def store(credential: str) -> None:
        """Called in a worker thread, which keeps no database connection."""
        gateway.credential = Secret.seal(credential)
        try:
            _store_credential(gateway)
        finally:
            release_connection()

    vendor = vendors.load(gateway.vendor)
    pace = None
    if vendor.rate_limit:
        pace = pace_for(gateway.pk, vendor.rate_limit, is_command=is_command)
    http = Http(
        gateway.address,
        credential=gateway.credential.reveal(),
        networks=settings.GATEWAY_NETWORKS,
        timeout_seconds=timeout_seconds or settings.GATEWAY_TIMEOUT_SECONDS,
        max_bytes=settings.LARGEST_ANSWER_BYTES,
        renew=store,
        pace=pace,
    )
    release_connection()  # others may use it while this one waits for the vendor
    return vendor(http)


@contextmanager
def faults_told() -> Iterator[None]:
    """Raise ApiRefused, with the fault named, where a vendor's client fails in a way of its own."""
    try:
        yield
    except OURS:
        raise
    except Exception as error:
        raise ApiRefused(complaint(error)) from error


def _store_credential(gateway: Gateway) -> None:
    """Store a renewed credential, unless the gateway was removed or moved meanwhile.

    One that is not stored yet keeps it until it is.
    """
    from core.net.http import origin

    with transaction.atomic():
        present = Gateway.objects.present().select_for_update(no_key=True)
        stored = present.filter(pk=gateway.pk).first()
        if stored and origin(stored.address) == origin(gateway.address):
            Gateway.objects.filter(pk=gateway.pk).update(credential=gateway.credential)
