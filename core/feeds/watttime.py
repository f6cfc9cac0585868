"""The marginal operating emissions rate: what one kilowatt-hour more emits, in many grids of the
world, every 5 minutes.

https://docs.watttime.org (version 3). An account is needed, and a subscription for any region but
CAISO_NORTH. The token of a log-in serves 30 minutes. A user may make 3,000 calls in 5 minutes, 100
of them log-ins; a fetch makes four: log-in, region of a place, forecast, history.
"""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from core import feeds
from core.feeds import Signal, Slot, in_order, moment, number, place
from core.net.errors import ApiError, ApiRefused

SIGNAL_TYPE = "co2_moer"
GRAMS = 0.45359237  # a pound is 453.59237 g, and a MWh 1,000 kWh
POUNDS = "lbs_co2_per_mwh"
HIGHEST = 10_000.0  # lbs/MWh: the dirtiest generators emit a third of it
LONGEST_CALL = timedelta(days=30)  # the API refuses more than 32 days
LONGEST_HORIZON = 72  # hours
REGION = re.compile(r"[A-Za-z0-9_-]{1,60}")

Params = dict[str, str | int]


class Feed(feeds.Feed):
    label = "WattTime"
    signals = (Signal.MARGINAL_INTENSITY,)
    address = "https://api.watttime.org"
    every = timedelta(minutes=15)  # new every 5 minutes; a plan over hours does not need each
    # Points carry a last_updated: what has been is estimated again with later data and models.
    behind = timedelta(days=7)
    needs_credential = True
    region_hint = "a grid region such as CAISO_NORTH, or latitude,longitude"
    by_place = True

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        """The history is not for decisions of the moment: it comes late and is revised. The
        forecast begins with now."""
        now = _now()
        params: Params = {"region": self._region(region), "signal_type": SIGNAL_TYPE}
        slots = [
            slot for slot in self._past(params, since, min(until, now)) if slot.starts_at <= now
        ]
        if until > now:
            slots += self._coming(params, until, now)
        return in_order(slots, since, until)

    def _region(self, region: str) -> str:
        name: Any = region.strip()
        if where := place(name):
            latitude, longitude = where
            params: Params = {
                "latitude": str(latitude),
                "longitude": str(longitude),
                "signal_type": SIGNAL_TYPE,
            }
            answer = self._get("/v3/region-from-loc", params)
            name = answer.get("region") if isinstance(answer, dict) else None
            if not isinstance(name, str) or not REGION.fullmatch(name):
                raise ApiError(f"{self.address} did not say which region {region} lies in.")
        if not REGION.fullmatch(name):
            raise ApiRefused(
                f"{region[:60]!r} is no region. What can be named: {self.region_hint}."
            )
        return str(name)

    def _past(self, params: Params, since: datetime, until: datetime) -> Iterator[Slot]:
        while since < until:
            upto = min(since + LONGEST_CALL, until)
            answer = self._get(
                "/v3/historical", params | {"start": _written(since), "end": _written(upto)}
            )
            yield from _slots(answer, None)
            since = upto

    def _coming(self, params: Params, until: datetime, now: datetime) -> list[Slot]:
        hours = min(LONGEST_HORIZON, math.ceil((until - now) / timedelta(hours=1)))
        answer = self._get("/v3/forecast", params | {"horizon_hours": hours})
        generated_at = moment(answer["meta"].get("generated_at")) if _is_whole(answer) else None
        issued_at = min(generated_at or now, now)  # none is issued after it was fetched
        return [slot for slot in _slots(answer, issued_at) if slot.ends_at > now]

    def _get(self, path: str, params: Params) -> Any:
        """Logs in first, and once more where a token is refused: it may have run out a moment
        ago."""
        if self.http.auth is None:
            self._log_in()
        try:
            return self.http.get(path, params)
        except ApiRefused as refusal:
            if refusal.status != 401:
                raise
        self._log_in()
        return self.http.get(path, params)

    def _log_in(self) -> None:
        from core.net.http import basic, bearer  # imported late: it loads requests

        user, colon, password = self.http.credential.partition(":")
        if not (user and colon and password):
            raise ApiRefused("WattTime wants a credential of the form user:password.")
        self.http.auth = basic(user, password)
        answer = self.http.get("/login")
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise ApiError(f"{self.address} gave no token at log-in.")
        self.http.auth = bearer(token)


def _now() -> datetime:
    return datetime.now(UTC)


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _is_whole(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and isinstance(answer.get("meta"), dict)
        and isinstance(answer.get("data"), list)
    )


def _slots(answer: Any, issued_at: datetime | None) -> list[Slot]:
    """Of {"data": [{"point_time", "value"}, ...], "meta": {"data_point_period_seconds", "units",
    ...}}."""
    if not _is_whole(answer):
        raise ApiError(f"{Feed.address} answered without data and meta.")
    meta, data = answer["meta"], answer["data"]
    seconds = number(meta.get("data_point_period_seconds"), 60, 86_400)
    is_asked_for = meta.get("signal_type", SIGNAL_TYPE) == SIGNAL_TYPE
    if seconds is None or meta.get("units") != POUNDS or not is_asked_for:
        raise ApiError(
            f"{Feed.address} answered something else than {SIGNAL_TYPE} in {POUNDS} "
            "with the length of a point."
        )
    points = [
        (moment(one.get("point_time")), number(one.get("value"), 0, HIGHEST))
        for one in data
        if isinstance(one, dict)
    ]
    signal, length = Signal.MARGINAL_INTENSITY, timedelta(seconds=seconds)
    unit = signal.unit
    slots = [
        Slot(starts_at, starts_at + length, round(pounds * GRAMS, 3), unit, issued_at, signal)
        for starts_at, pounds in points
        if starts_at is not None and pounds is not None
    ]
    if data and not slots:
        raise ApiError(f"{Feed.address} answered {len(data)} points, and none of them can be read.")
    return slots
