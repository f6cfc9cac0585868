"""Shelly devices of the second generation and newer over MQTT.

After https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Mqtt: `<prefix>/online`, RPC
over `<prefix>/rpc`, and notifications on `<prefix>/events/rpc`. A prefix of one level is known.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from secrets import token_hex
from typing import Any

from core.net.mqtt import Message
from core.readings import DeviceSpec, Reading, Value
from core.vendors._mqtt import Dialect, Publication, Question, away, check_room, parsed
from core.vendors._shelly import changed_readings, devices, hardware_of, order, overlay, readings


class Shelly(Dialect):
    prefix = "shelly"

    def __init__(self) -> None:
        self.source = f"iotapp-{token_hex(4)}"
        """Where devices send their answers to: nobody else hears them."""
        self.topics = (  # type: ignore[misc]  # ours has a topic of its own
            "+/online",
            "+/events/rpc",
            f"{self.source}/rpc",
        )
        self.status: dict[str, dict[str, Any]] = {}
        """By prefix, empty until the device has told it."""

    def take(self, message: Message) -> Iterable[Reading]:
        first, _, rest = message.topic.partition("/")
        if rest == "online":
            return self._online(first, message)
        if rest == "events/rpc" and first in self.status and not message.is_retained:
            return self._notified(first, parsed(message.payload))
        if rest == "rpc" and first == self.source:
            return self._answered(parsed(message.payload))
        return ()

    def devices(self) -> Iterator[DeviceSpec]:
        for prefix, status in self.status.items():
            for device in devices(f"shelly:{prefix}", prefix, status, {}):
                if device.attributes:
                    yield device

    def questions(self, ids: Collection[str] | None) -> Iterator[Question]:
        wanted = None if ids is None else set(map(hardware_of, ids))
        for prefix in self.status:
            if wanted is None or f"shelly:{prefix}" in wanted:
                # Answers all come to our one topic: the id, which they repeat, tells whose each is.
                frame = {"id": prefix, "src": self.source, "method": "Shelly.GetStatus"}
                publication = Publication(f"{prefix}/rpc", json.dumps(frame))
                yield Question(f"shelly:{prefix}", publication)

    def order(self, vendor_id: str, attribute: str, value: Value) -> Publication | None:
        prefix = hardware_of(vendor_id).removeprefix("shelly:")
        status = self.status.get(prefix)
        if not status:
            return None
        part, params = order(vendor_id, status, attribute, value, None)
        params = {"id": part.component_id, **params}
        # A number: what is answered to it is no status, and is passed over.
        frame = {"id": 0, "src": self.source, "method": part.field.method, "params": params}
        return Publication(f"{prefix}/rpc", json.dumps(frame))

    def _online(self, prefix: str, message: Message) -> Iterator[Reading]:
        if message.payload not in (b"true", b"false") or not prefix:
            return
        if prefix not in self.status:
            check_room(self.status)
            self.status[prefix] = {}
        if message.payload == b"false":
            yield away(f"shelly:{prefix}")

    def _notified(self, prefix: str, frame: Any) -> Iterable[Reading]:
        params = frame.get("params") if isinstance(frame, dict) else None
        status = self.status[prefix]
        # A change is laid over a status: one that was never told is waited for.
        if not isinstance(params, dict) or not status:
            return ()
        if frame.get("method") == "NotifyFullStatus":
            self.status[prefix] = params
            return readings(f"shelly:{prefix}", params)
        if frame.get("method") != "NotifyStatus":
            return ()
        overlay(status, params)
        return changed_readings(f"shelly:{prefix}", status, params)

    def _answered(self, frame: Any) -> Iterable[Reading]:
        if not isinstance(frame, dict) or not isinstance(frame.get("id"), str):
            return ()
        prefix, status = frame["id"], frame.get("result")
        if prefix not in self.status or not isinstance(status, dict):
            return ()
        self.status[prefix] = status
        return readings(f"shelly:{prefix}", status)
