"""Build situations and forecasts in few words, so that a test reads as a sentence."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from core import rules
from core.feeds import Signal, Slot
from core.planning.forecast import Outlook, Rung
from core.rules import Situation

LONDON = ZoneInfo("Europe/London")
HALF_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)


def utc(text):
    """ "2026-06-01 07:30" """
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(start, values, length=HALF_HOUR, signal=Signal.CARBON_INTENSITY):
    """One after another, from a time on."""
    at, unit = utc(start), signal.unit
    return tuple(
        Slot(at + place * length, at + (place + 1) * length, value, unit, at, signal)
        for place, value in enumerate(values)
    )


def outlook(slots, rung=Rung.LIVE, **fields):
    return Outlook(slots[0].signal, tuple(slots), rung, issued_at=slots[0].starts_at, **fields)


def situation(now, rule, *outlooks, is_on=False, options=None, zone=UTC, **fields):
    return Situation(
        now=utc(now),
        device="Heater",
        values={"on": is_on},
        switch="on",
        outlooks={one.signal: one for one in outlooks},
        options=rules.load(rule).read(options or {}),
        zone=zone,
        **fields,
    )


def decide(now, rule, *outlooks, **fields):
    return rules.load(rule).decide(situation(now, rule, *outlooks, **fields))
