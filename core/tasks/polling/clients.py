"""A vendor client bound to a gateway: its address, credential and limits. The only place that decrypts a credential."""

from django.conf import settings
from django.db import connection

from core import vendors
from core.models import Gateway, Secret
from core.tasks.polling.rate_limit import pace_for
from core.vendors import Vendor


def client_for(
    gateway: Gateway, timeout_seconds: float | None = None, *, is_command: bool = False
) -> Vendor:
    """Raises SecretUnreadable. The deadline covers everything the client is asked, from its first call on, without what it
    waits for the vendor's budget, where `is_command` goes before reads."""

    from core.net.http import (
        Http,  # loads requests, which a poll that asks nobody should not pay for
    )

    def store(credential: str) -> None:
        """Called in a worker thread, which keeps no database connection."""
        try:
            Gateway.objects.filter(pk=gateway.pk).update(credential=Secret.seal(credential))
        finally:
            connection.close()

    vendor = vendors.load(gateway.vendor)
    http = Http(
        gateway.address,
        credential=gateway.credential.reveal(),
        networks=settings.GATEWAY_NETWORKS,
        timeout_seconds=timeout_seconds or settings.GATEWAY_TIMEOUT_SECONDS,
        renew=store,
        pace=pace_for(gateway.pk, vendor.budget, is_command=is_command) if vendor.budget else None,
    )
    return vendor(http)


def give_back() -> None:
    """It is taken again by the next query."""
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()
