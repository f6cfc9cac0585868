"""What Home Assistant tells by itself over its WebSocket API.

After https://developers.home-assistant.io/docs/api/websocket. States come in the same words as over
REST, so `readings` is the translation of core/vendors/home_assistant.py.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.net.websocket import WebSocket
from core.readings import Reading
from core.vendors import LISTEN_SECONDS, Update

PATH = "/api/websocket"
STATE_CHANGED = "state_changed"
MOST_TOGETHER = 200
"""Messages that are waiting already become one update, up to so many."""

Readings = Callable[[Iterable[Any], object], Iterable[Reading]]
"""Translates states, given the units of the house."""


def listen(
    http: Http, vendor_ids: frozenset[str], readings: Readings, whole_every: timedelta
) -> Iterator[Update]:
    with WebSocket(http, PATH) as socket:
        yield from _Listener(http, socket, vendor_ids, readings, whole_every).updates()


class _Listener:
    def __init__(
        self,
        http: Http,
        socket: WebSocket,
        vendor_ids: frozenset[str],
        readings: Readings,
        whole_every: timedelta,
    ) -> None:
        self.http = http
        self.socket = socket
        self.vendor_ids = vendor_ids
        self.readings = readings
        self.whole_every = whole_every.total_seconds()
        self.asked: dict[int, str] = {}
        """What was asked and is not answered, by number."""
        self.asked_at = self.whole_at = monotonic()
        self.last = 0
        self.units: object = None

    def updates(self) -> Iterator[Update]:
        self._log_in()
        # First, since states are read in the units of the house.
        self._ask("get_config")
        # Before the states are asked for, so that no change falls between the two.
        self._ask("subscribe_events", event_type=STATE_CHANGED)
        self._ask("get_states")
        while True:
            self._look_at_time(monotonic())
            changed: list[Any] = []
            for message in self._messages():
                whole = self._take(message, changed)
                if whole is not None:
                    yield whole
            # Also where nothing changed: whoever listens gets its turn.
            yield self._update(changed)

    def _messages(self) -> list[Any]:
        """Wait for a message, and take those that came with it."""
        messages = [self.socket.receive(LISTEN_SECONDS)]
        while messages[-1] is not None and len(messages) < MOST_TOGETHER:
            messages.append(self.socket.receive(0))
        return messages

    def _log_in(self) -> None:
        self._expect("auth_required")
        self.socket.send({"type": "auth", "access_token": self.http.credential.strip()})
        self._expect("auth_ok")

    def _expect(self, kind: str) -> None:
        message = self.socket.receive(self.http.timeout_seconds)
        said = message.get("type") if isinstance(message, dict) else None
        if said == "auth_invalid":
            raise ApiRefused(f"{self.http.address} refused the credential.", status=401)
        if message is None:
            raise ApiError(f"{self.http.address}{PATH} says nothing.")
        if said != kind:
            raise ApiError(f"{self.http.address}{PATH} does not speak as Home Assistant does.")

    def _ask(self, what: str, **fields: Any) -> None:
        self.last += 1
        self.asked[self.last] = what
        self.asked_at = monotonic()
        self.socket.send({"id": self.last, "type": what, **fields})

    def _look_at_time(self, now: float) -> None:
        if self.asked:
            if now - self.asked_at > self.http.timeout_seconds:
                what = next(iter(self.asked.values()))
                raise ApiError(f"{self.http.address}{PATH} does not answer {what}.")
        elif now - self.whole_at >= self.whole_every:
            self._ask("get_states")

    def _take(self, message: Any, changed: list[Any]) -> Update | None:
        """Note what a message tells. Return an update if it is the answer with all states."""
        if not isinstance(message, dict):
            return None
        if message.get("type") == "event":
            event = message.get("event")
            if isinstance(event, dict) and event.get("event_type") == STATE_CHANGED:
                changed.append(event.get("data"))
            return None
        number = message.get("id")
        what = self.asked.pop(number, "") if isinstance(number, int) else ""
        if not what:
            return None
        if message.get("success") is not True:
            error = message.get("error")
            words = error.get("message") if isinstance(error, dict) else error
            raise ApiError(f"{self.http.address} refuses {what}: {str(words):.200}.")
        result = message.get("result")
        if what == "get_config":
            self.units = result.get("unit_system") if isinstance(result, dict) else None
        return self._whole(result) if what == "get_states" else None

    def _whole(self, states: Any) -> Update:
        if not isinstance(states, list):
            raise ApiError(f"{self.http.address} answered get_states with no list.")
        self.whole_at = monotonic()
        ours = self._ours(states)
        return Update(list(self.readings(ours, self.units)), self.vendor_ids, is_whole=True)

    def _update(self, changed: list[Any]) -> Update:
        """What changed. An entity without a new state was removed."""
        data = [one for one in changed if isinstance(one, dict)]
        ids = {one.get("entity_id") for one in data if isinstance(one.get("entity_id"), str)}
        # Also one without a new state: about it, and without a reading, says that it is gone.
        told = self.vendor_ids & ids
        states = self._ours(one.get("new_state") for one in data)
        return Update(list(self.readings(states, self.units)), told)

    def _ours(self, states: Iterable[Any]) -> list[Any]:
        return [
            state
            for state in states
            if isinstance(state, dict)
            and isinstance(state.get("entity_id"), str)
            and state["entity_id"] in self.vendor_ids
        ]
