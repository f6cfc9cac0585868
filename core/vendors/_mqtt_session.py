"""One connection to a broker, and what its devices say over it in all the dialects we know."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Self

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.net.mqtt import Broker, Message
from core.readings import DeviceSpec, Reading, Value
from core.vendors._mqtt import AWAY, Dialect
from core.vendors._mqtt_discovery import Discovery
from core.vendors._mqtt_shelly import Shelly
from core.vendors._mqtt_tasmota import Tasmota
from core.vendors._mqtt_zigbee import Zigbee2Mqtt
from core.vendors._shelly import hardware_of

QUIET_SECONDS = 0.5
"""A broker sends what it retains at once: after so long without a message that was all."""
ANSWER_SECONDS = 3.0
"""What devices have for their answers; one that tells later is heard by whoever listens."""
MOST_TOGETHER = 500
"""Readings in one update, and somewhat more."""
MOST_TOPICS = 1_000
MOST_MESSAGES = 20_000
"""Retained by one broker: of one with more the rest is not waited for."""


@dataclass
class Told:
    """Readings, and all the devices that they are about: of one that is away there is none."""

    readings: list[Reading] = field(default_factory=list)
    vendor_ids: dict[str, None] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)

    def add(self, reading: Reading) -> None:
        self.vendor_ids[reading.vendor_id] = None
        if reading.attribute == AWAY:
            self.away.add(reading.vendor_id)
        else:
            self.readings.append(reading)

    def about(self, vendor_ids: Iterable[str]) -> list[str]:
        """List those of these devices that it is about. With hardware all its channels are away."""
        return [
            one for one in vendor_ids if one in self.vendor_ids or hardware_of(one) in self.away
        ]


class Session:
    def __init__(self, http: Http, user: str, password: str) -> None:
        self.dialects: tuple[Dialect, ...] = (Shelly(), Tasmota(), Zigbee2Mqtt(), Discovery())
        self._ends_at = monotonic() + http.timeout_seconds
        self._subscribed: set[str] = set()
        self._broker = Broker(http, user, password)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.close()

    def learn(self) -> Told:
        """Subscribe, and take in what the broker retains."""
        told = Told()
        self._subscribe([topic for dialect in self.dialects for topic in dialect.topics])
        self._take_retained(told)
        # Of what was announced, the states.
        if self._subscribe_to_more():
            self._take_retained(told)
        return told

    def ask(self, ids: Collection[str] | None, told: Told) -> None:
        """Ask these devices (None: all) for their state, and add what they answer in time."""
        asked = self.send_questions(ids)
        until = min(monotonic() + ANSWER_SECONDS, self._ends_at)
        while asked and (left := until - monotonic()) > 0:
            message = self._broker.receive(min(left, QUIET_SECONDS))
            if message is not None:
                self._add(message, told)
            elif told.vendor_ids.keys() >= asked:
                return  # some answer in two messages, hence only now that it is quiet

    def send_questions(self, ids: Collection[str] | None) -> set[str]:
        """Return which devices were asked."""
        questions = [one for dialect in self.dialects for one in dialect.questions(ids)]
        for question in questions:
            self._broker.publish(*question.publication)
        return {question.vendor_id for question in questions}

    def receive(self, seconds: float, told: Told) -> None:
        """Add what comes next, if anything does within so many seconds."""
        message = self._broker.receive(seconds)
        while message is not None:
            self._add(message, told)
            # Those that came with it, up to a bound.
            more = len(told.readings) < MOST_TOGETHER
            message = self._broker.receive(0) if more else None
        self._subscribe_to_more()

    def devices(self) -> list[DeviceSpec]:
        return [device for dialect in self.dialects for device in dialect.devices()]

    def order(self, vendor_id: str, attribute: str, value: Value) -> None:
        """Publish an order. It is not retained: a device that is away never does it later."""
        dialect = next(
            (one for one in self.dialects if vendor_id.startswith(f"{one.prefix}:")), None
        )
        if dialect is None:
            raise ApiRefused(f"{vendor_id!r:.80} is no device behind a broker.")
        publication = dialect.order(vendor_id, attribute, value)
        if publication is None:
            # What the device can, and how it is ordered, is known by its answer only.
            self.ask([vendor_id], Told())
            publication = dialect.order(vendor_id, attribute, value)
        if publication is None:
            raise ApiError(f"{vendor_id:.80} does not answer: nothing was ordered.")
        self._broker.publish(*publication)

    def _take_retained(self, told: Told) -> None:
        for _ in range(MOST_MESSAGES):
            message = self._broker.receive(min(QUIET_SECONDS, self._ends_at - monotonic()))
            if message is None:
                return
            self._add(message, told)

    def _add(self, message: Message, told: Told) -> None:
        # Each is shown every message, and passes over what is not its own.
        for dialect in self.dialects:
            for reading in dialect.take(message):
                told.add(reading)

    def _subscribe_to_more(self) -> bool:
        more = [topic for dialect in self.dialects for topic in dialect.more_topics()]
        new = [topic for topic in more if topic not in self._subscribed]
        return self._subscribe(new[: MOST_TOPICS - len(self._subscribed)])

    def _subscribe(self, topics: list[str]) -> bool:
        for start in range(0, len(topics), 50):
            self._broker.subscribe(topics[start : start + 50])
        self._subscribed.update(topics)
        return bool(topics)
