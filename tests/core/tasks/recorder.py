"""A small Home Assistant behind real HTTP: what its entities are, and what it recorded of them."""

import json
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import perf_counter
from urllib.parse import parse_qs, urlsplit

from django.utils import timezone

from tests.core.raw_server import answer, serving


class Recorder:
    """`recorded` holds (time, state, attributes) of entities, oldest first; the last one is now.

    `fault` is sent in place of any history, `asked` counts the calls for it, `called_at` has the
    times of all calls, by a clock that no test moves.
    """

    def __init__(self) -> None:
        self.recorded: dict[str, list[tuple[datetime, str, dict]]] = {}
        self.fault: bytes | None = None
        self.asked = 0
        self.called_at: list[float] = []
        self.kept = timedelta(days=10)

    def happened(self, entity_id, at, state, **attributes):
        self.recorded.setdefault(entity_id, []).append((at, state, attributes))

    def reply(self, request):
        self.called_at.append(perf_counter())
        url = urlsplit(request.target)
        path, query = url.path, parse_qs(url.query)
        if request.method == "POST":
            return self._json([])  # an order is accepted, and nothing happens by itself
        if path == "/api/config":
            return self._json({"location_name": "Home", "version": "2025.4.0"})
        if path == "/api/states":
            return self._json([self._now(entity_id) for entity_id in self.recorded])
        if path.startswith("/api/states/"):
            return self._json(self._now(path.rpartition("/")[2]))
        self.asked += 1
        since = datetime.fromisoformat(path.rpartition("/")[2])
        until = datetime.fromisoformat(query["end_time"][0])
        [entity_id] = query["filter_entity_id"]
        return self.fault or self._json([self._history(entity_id, since, until)])

    def _history(self, entity_id, since, until):
        rows = [row for row in self.recorded[entity_id] if row[0] > timezone.now() - self.kept]
        held = [(since, *row[1:]) for row in rows if row[0] <= since][-1:]
        return [
            self._state(entity_id, *row)
            for row in (*held, *(row for row in rows if since < row[0] < until))
        ]

    def _now(self, entity_id):
        past = [row for row in self.recorded[entity_id] if row[0] <= timezone.now()]
        return self._state(entity_id, *past[-1])

    @staticmethod
    def _state(entity_id, at, state, attributes):
        times = {"last_changed": at.isoformat(), "last_updated": at.isoformat()}
        return {"entity_id": entity_id, "state": state, "attributes": attributes, **times}

    @staticmethod
    def _json(content):
        return answer(json.dumps(content).encode())


@contextmanager
def recording():
    recorder = Recorder()
    with serving(recorder.reply) as server:
        recorder.address = server.address
        yield recorder
