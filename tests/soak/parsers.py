"""Proof: whatever comes from outside is parsed in a time that grows with its length, not faster.

Each parser gets texts that regular expressions stumble over, of 1, 10 and 100 times a length.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time

from core.live import protocol
from core.live.actions import Refused
from core.net import auth, http, strict_json
from core.readings import Kind, Unacceptable, clean_name, clean_value
from core.rules import schedule
from core.schedule import time_of_day

LENGTH = 1000
FACTORS = (1, 10, 100)
LEAST_SECONDS = 0.002
"""Times below are noise."""
MOST_GROWTH = 4.0
"""How much more than 100 times as long 100 times the length may take."""

# Each is repeated up to the length.
PIECES = (
    "a",
    "-",
    " ",
    ", ",
    ",",
    "a ",
    "a=",
    'a="',
    'a="\\',
    "\\",
    '"',
    "Digest ",
    "digest a=b,",
    "1",
    "1.",
    "1e",
    "9",
    "[",
    "{",
    '{"a":',
    "[],",
    '"a",',
    "\\u0000",
    "\\ud800",
    ":",
    "07:00-",
    "mon-",
    "mon - ",
    ";",
    "-" + " " * 50,
    "\t",
    "\x00",
    "é",
    "\u202e",
)


def _retry_after(text: str) -> None:
    http._retry_after(text)


def _json(text: str) -> None:
    for body in (text, f'"{text}"', f"[{text}]", f'{{"a":"{text}"}}'):
        strict_json.parse(body.encode())


def _message(text: str) -> None:
    message, _ = protocol.parse_message(text)
    protocol.parse_topics(protocol.parse_request(message).body)


def _digest(text: str) -> None:
    auth.Digest("user", "password").answer(f"Digest {text}")
    auth._parameters(text)


PARSERS: dict[str, Callable[[str], object]] = {
    "a digest challenge": _digest,
    "Retry-After": _retry_after,
    "JSON": _json,
    "a message of a socket": _message,
    "a schedule": schedule.week,
    "a time of day": time_of_day,
    "a name": clean_name,
    "a value": lambda text: clean_value(text, Kind.TEXT),
    "a number": lambda text: clean_value(text, Kind.NUMBER),
}
REFUSALS = (ValueError, Unacceptable, Refused)


@dataclass
class Growth:
    """The worst growth of each parser; `faults` must be empty."""

    parsed: int = 0
    worst: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        each = ", ".join(f"{name} {growth:.1f}" for name, growth in self.worst.items())
        return (
            f"parsers: {self.parsed:,} texts; time of {FACTORS[-1]} times the length, "
            f"by {FACTORS[-1]} times that of the length: {each}; {len(self.faults)} faults"
        )


def grow(length: int = LENGTH) -> Growth:
    growth = Growth()
    for name, parse in PARSERS.items():
        growth.worst[name] = 0.0
        for piece in PIECES:
            times = [_seconds(parse, piece, length * factor) for factor in FACTORS]
            growth.parsed += len(FACTORS)
            ratio = times[-1] / max(times[0] * FACTORS[-1], LEAST_SECONDS)
            growth.worst[name] = max(growth.worst[name], ratio)
            if ratio > MOST_GROWTH:
                shown = ", ".join(f"{seconds * 1000:.2f}" for seconds in times)
                growth.faults.append(f"{name}, {piece!r}: {shown} ms")
    return growth


def _seconds(parse: Callable[[str], object], piece: str, length: int) -> float:
    text = (piece * (length // len(piece) + 1))[:length]
    best = float("inf")
    for _ in range(3):
        began = process_time()
        with contextlib.suppress(REFUSALS):
            parse(text)
        best = min(best, process_time() - began)
    return best
