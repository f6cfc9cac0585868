"""Devices behind an MQTT broker: Shelly, Tasmota, Zigbee2MQTT, and what announces itself by Home
Assistant's discovery. One gateway is one broker; the dialects are in core/vendors/_mqtt_*.py.

A poll connects, reads what the broker retains, asks the devices that can be asked, and leaves. What
cannot be asked (sensors on battery, devices known by discovery alone) tells by itself, and is heard
by `listen_devices` only: a retained message says nothing of when it was true.
"""

from collections.abc import Collection, Iterator
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from core.net.errors import ApiRefused
from core.readings import DeviceSpec, Reading, Value
from core.vendors import LISTEN_SECONDS, Identity, Update, Vendor

if TYPE_CHECKING:
    from core.vendors._mqtt_session import Session, Told

MISSING = "Brokers need packages that are an extra: pip install -r requirements-listen.txt"


class Client(Vendor):
    label = "MQTT broker"
    address_example = "mqtt://192.168.1.5:1883"
    credential_hint = "user:password of the broker, if it wants one"
    credential_fields = ("user", "password")
    settle = timedelta(seconds=1)
    listens = True

    def identify(self) -> Identity:
        """A broker has no id of its own."""
        with self._session():
            return Identity("", self.http.address.partition("://")[2])

    def devices(self) -> list[DeviceSpec]:
        from core.vendors._mqtt_session import Told

        with self._session() as session:
            session.learn()
            session.ask(None, Told())
            return session.devices()

    def read(self, vendor_ids: Collection[str]) -> Iterator[Reading]:
        with self._session() as session:
            told = session.learn()
            session.ask(vendor_ids, told)
        self.told = told.about(vendor_ids)
        yield from told.readings

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        """That the broker has it is no more than accepted: the device's own message confirms."""
        if revert_after is not None:
            raise ApiRefused(f"Over MQTT there is no timer: nothing would bring {vendor_id} back.")
        with self._session() as session:
            # How a device is ordered stands in what the broker retains.
            session.learn()
            session.order(vendor_id, attribute, value)

    def listen(self, vendor_ids: Collection[str], whole_every: timedelta) -> Iterator[Update]:
        from core.vendors._mqtt_session import Told

        wanted = set(vendor_ids)
        with self._session() as session:
            told = session.learn()
            session.ask(vendor_ids, told)
            yield _update(told, wanted, is_whole=True)
            asked_at = monotonic()
            while True:
                told = Told()
                is_due = monotonic() - asked_at >= whole_every.total_seconds()
                if is_due:
                    # What is answered comes as any other message: nothing waits for it.
                    session.send_questions(vendor_ids)
                    asked_at = monotonic()
                session.receive(LISTEN_SECONDS, told)
                yield _update(told, wanted, is_whole=is_due)

    def _session(self) -> "Session":
        try:
            from core.vendors._mqtt_session import Session
        except ModuleNotFoundError as error:
            raise ApiRefused(MISSING) from error
        if not self.http.address.startswith("mqtt"):
            raise ApiRefused(f"A broker's address looks like {self.address_example}.")
        parts = self.credential_parts() if self.http.credential else {}
        return Session(self.http, parts.get("user", ""), parts.get("password", ""))


def _update(told: "Told", wanted: set[str], is_whole: bool) -> Update:
    readings = [reading for reading in told.readings if reading.vendor_id in wanted]
    return Update(readings, told.about(wanted), is_whole)
