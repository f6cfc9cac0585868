"""What Shelly's energy meters kept of each minute, for 60 days.

After https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/EMData (three phases) and
.../EM1Data (one). `GetData` answers with the names of columns, and blocks of rows: a block has the
time of its first row and the period of each in seconds. A new block begins where records were
interrupted, as by a loss of power. Energies are Wh in the period, voltage and current its average.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from core.net.errors import ApiError
from core.readings import Kind, Unacceptable, clean_value
from core.vendors._shelly import Part, parts

METHODS = {"em": "EMData.GetData", "em1": "EM1Data.GetData"}
MOST_PAGES = 200
"""Of one answer. A page holds what the device can send at once, at least some minutes."""
PHASES = ("a_", "b_", "c_")
SECONDS_AN_HOUR = 3600
LONGEST_PERIOD = 86_400


@dataclass(frozen=True)
class Column:
    """How an attribute is made of a row: the sum of some columns less that of others."""

    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()
    is_energy: bool = False

    def of(self, row: Mapping[str, float], period: int) -> float | None:
        """Return the value in W, V or A, or None if the row lacks a part of it."""
        if not all(key in row for key in (*self.plus, *self.minus)):
            return None
        total = sum(row[key] for key in self.plus) - sum(row[key] for key in self.minus)
        # The energy of a period tells its average power; the power itself is not kept.
        return round(total * SECONDS_AN_HOUR / period if self.is_energy else total, 3)


def _column(path: str) -> Column | None:
    """Return how the history tells what stands at this path of a status, if it does."""
    if path == "total_current":
        return Column(tuple(f"{phase}avg_current" for phase in PHASES))
    phases = PHASES if path == "total_act_power" else (path.removesuffix("act_power"),)
    if path.endswith("act_power"):
        energies = tuple(f"{phase}total_act_energy" for phase in phases)
        returned = tuple(f"{phase}total_act_ret_energy" for phase in phases)
        return Column(energies, returned, is_energy=True)
    for measured in ("voltage", "current"):
        if path.endswith(measured):
            return Column((f"{path.removesuffix(measured)}avg_{measured}",))
    return None


def meters(status: dict[str, Any]) -> list[tuple[str, int]]:
    """List the meters of a device, by kind and id."""
    found = dict.fromkeys((_kind(part), part.component_id) for part in parts(status))
    return [(kind, component_id) for kind, component_id in found if kind in METHODS]


def _kind(part: Part) -> str:
    return part.component.partition(":")[0]


def columns_of(status: dict[str, Any], kind: str, component_id: int) -> dict[str, Column]:
    """Say of each attribute of a meter that has a history how it is made."""
    columns: dict[str, Column] = {}
    for part in parts(status):
        column = _column(part.field.path[0])
        if column and (_kind(part), part.component_id) == (kind, component_id):
            columns[part.name] = column
    return columns


@dataclass(frozen=True)
class Minute:
    """A row; its period is a minute, unless the device was told otherwise. Without a row nothing
    was recorded from then on."""

    at: datetime
    period: int = 60
    row: Mapping[str, float] | None = None

    def values(self, columns: Mapping[str, Column]) -> Iterator[tuple[str, float | None]]:
        for name, column in columns.items():
            yield name, None if self.row is None else column.of(self.row, self.period)


def minutes(page: Callable[[int], Any], since: datetime, until: datetime) -> Iterator[Minute]:
    """Yield the rows from one time until another, and where they are interrupted.

    `page` asks for what is recorded from a Unix time on.
    """
    ts, end = int(since.timestamp()), None
    for _ in range(MOST_PAGES):
        answer = page(ts)
        for minute in _rows(answer):
            # Records were interrupted: the last value must not last until the next.
            if end is not None and minute.at != end:
                yield Minute(end)
            yield minute
            end = minute.at + timedelta(seconds=minute.period)
        following = answer.get("next_record_ts")
        # Only ahead: a page that leads back would be asked for again and again.
        if type(following) is not int or not ts < following < until.timestamp():
            break
        ts = following
    else:
        raise ApiError("The device's history does not come to an end.")
    if end is not None:
        yield Minute(end)


def _rows(answer: dict[str, Any]) -> Iterator[Minute]:
    keys, blocks = answer.get("keys"), answer.get("data")
    if not isinstance(keys, list) or not isinstance(blocks, list):
        raise ApiError("The device's history has no columns or no data.")
    for block in blocks:
        begin, period = _begin(block)
        for place, values in enumerate(block["values"]):
            at = begin + place * timedelta(seconds=period)
            yield Minute(at, period, dict(_numbers(keys, values)))


def _begin(block: Any) -> tuple[datetime, int]:
    """Return the time of a block's first row, and the seconds that each of its rows is for."""
    try:
        period, values = int(block["period"]), block["values"]
        begin = datetime.fromtimestamp(int(block["ts"]), UTC)
        # Only to see that the times of all its rows are times: else it raises OverflowError.
        begin + len(values) * timedelta(seconds=period)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        period, values = 0, None
    if not isinstance(values, list) or not 0 < period <= LONGEST_PERIOD:
        raise ApiError("A block of the device's history has no time, no period or no values.")
    return begin, period


def _numbers(keys: list[Any], values: Any) -> Iterator[tuple[str, float]]:
    """Yield the columns of a row that hold a number."""
    # A row may be short: what it lacks is a column without a value.
    for key, value in zip(keys, values if isinstance(values, list) else (), strict=False):
        try:
            number = clean_value(value, Kind.NUMBER)
        except Unacceptable:
            continue
        if isinstance(key, str) and isinstance(number, float):
            yield key, number
