"""Devices that push: they send their readings here, and are never asked.

How they do it: docs/push.md. What they send is read in core/tasks/receive_readings.py.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar

from core.net.errors import ApiRefused
from core.readings import DeviceSpec, Reading, Value
from core.vendors import Identity, Vendor

NEVER_ASKED = "Its devices send their readings by themselves: it cannot be asked."


class Client(Vendor):
    """Says so to whoever asks. Its credential is the secret that its messages are signed with."""

    label = "Webhook (devices that push)"
    address_example = ""
    credential_hint = "none: the secret to sign messages with is made here, and shown once"
    pushes: ClassVar[bool] = True

    def identify(self) -> Identity:
        raise ApiRefused(NEVER_ASKED)

    def devices(self) -> list[DeviceSpec]:
        raise ApiRefused(NEVER_ASKED)

    def read(self, vendor_ids: Collection[str]) -> list[Reading]:
        raise ApiRefused(NEVER_ASKED)

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        raise ApiRefused("It takes no orders, and has no timer: it only sends readings.")
