"""What may be wrong on purpose with a simulated device."""

from dataclasses import dataclass
from typing import Any, Self

FAULTS = {
    "latency": "answers after ARGUMENT seconds (0.5)",
    "429": "too many requests, with Retry-After ARGUMENT seconds (30)",
    "500": "internal server error",
    "503": "unavailable",
    "unauthorised": "401, whatever the password",
    "garbage": "a page instead of JSON",
    "nan": "JSON with NaN in it",
    "drip_headers": "a byte of the head every ARGUMENT seconds (0.1)",
    "drip_body": "a byte of the body every ARGUMENT seconds (0.1)",
    "hang": "never answers, and keeps the connection",
    "unreachable": "closes the connection at once",
    "lost_command": "an order is not done, and the connection closes after ARGUMENT seconds (0)",
    "lost_answer": "an order is done, and the connection closes after ARGUMENT seconds (0) "
    "without an answer",
    "lying": "an order is confirmed and not done",
}
"""Latency goes together with any other; of the rest the first in this order is what happens."""

DEFAULTS = {"latency": 0.5, "429": 30.0, "drip_headers": 0.1, "drip_body": 0.1}
ORDERS_ONLY = {"lost_command", "lost_answer", "lying"}


@dataclass
class Fault:
    """One thing wrong. `count` is how many requests it spoils, then it heals; None: all of them."""

    kind: str
    argument: float | None = None
    count: int | None = None
    writes_only: bool = False

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"There is no fault {self.kind!r}. Known: {', '.join(FAULTS)}.")
        if not _is_number(self.argument, least=0) or not _is_number(self.count, least=1):
            raise ValueError(
                f"The argument of {self.kind} must be a number from 0 on, "
                "and its count one from 1 on."
            )
        self.writes_only = self.writes_only or self.kind in ORDERS_ONLY

    @property
    def amount(self) -> float:
        """The argument, or what stands for it."""
        return DEFAULTS.get(self.kind, 0.0) if self.argument is None else self.argument

    @classmethod
    def parse(cls, text: str) -> tuple[Self, float]:
        """`KIND[=ARGUMENT][:SHARE%]`, such as `latency=0.3` or `hang:10%`: the fault, and the share
        of devices, 0 to 1."""
        what, _, share = text.partition(":")
        kind, _, argument = what.partition("=")
        try:
            percent = float(share.rstrip("%") or 100)
            return cls(kind, float(argument) if argument else None), percent / 100
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no fault: {error}. Examples: latency=0.3 or hang:10%"
            ) from None

    @classmethod
    def read(cls, row: dict[str, Any]) -> tuple[Self, float]:
        """The same from JSON: {"kind": "hang", "share": 0.1}. Raises ValueError, TypeError or
        AttributeError."""
        arguments = {key: value for key, value in row.items() if key != "share"}
        return cls(**arguments), float(row.get("share", 1))


def use(faults: list[Fault], is_write: bool) -> dict[str, Fault]:
    """Those that spoil this request, by kind, counted down; what is used up leaves the list."""
    used = [fault for fault in faults if is_write or not fault.writes_only]
    for fault in used:
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                faults.remove(fault)
    return {fault.kind: fault for fault in used}


def _is_number(value: object, least: float) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value < 1e9
