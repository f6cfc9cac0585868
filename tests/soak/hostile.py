"""Proof: whatever a server answers, its client raises one of two errors or gives sane readings.

`python -m tests.soak.hostile SEED COUNT EVERY FILE` puts so many hostile answers through every
vendor's client, without network or database, and keeps every EVERYth of what came out in the file,
for tests.soak.store_hostile.
"""

import json
import pickle
import random
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from core import vendors
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import DeviceSpec, Reading
from core.vendors import Vendor
from tests.core.vendors.test_contract import PAYLOADS, check_device, check_reading, told

SINCE = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOST_OF_A_LIST = 5
BROKEN_BYTES, REFUSALS = 0.03, 0.01
"""The shares of answers that are damaged as bytes, and of calls that end in an error."""

SCENES = {
    "shelly": {
        r"/rpc/Shelly\.GetDeviceInfo|/shelly": "{device}_info",
        r"/rpc/Shelly\.GetStatus": "{device}_status",
        r"/rpc/Shelly\.GetConfig": "plus_1pm_config",
        r"/rpc": "set_accepted",
    },
    "shelly_cloud": {
        r"/device/all_status": "all_status",
        r"/v2/devices/api/get": "get",
        r"/v2/devices/api/set/.*": "failed_command",
    },
    "home_assistant": {
        r"/api/config": "config",
        r"/api/states": "states",
        r"/api/states/.*": "state_light_at_37_percent",
        r"/api/services/.*": "turn_on_answer",
        r"/api/history/.*": "history_power",
    },
    "web_of_things": {
        r"/": "mozilla_lamp",
        r"/properties": "mozilla_properties",
    },
}
"""Which recorded answer belongs to which path, so that a hostile one stands among friendly ones and
is not stopped at the door. A vendor that is not here gets any of its recorded answers for any
path."""

NUMBERS: list[Any] = [
    *(
        0,
        -1,
        1,
        0.5,
        37,
        255,
        1e15,
        1.1e15,
        -1e16,
        1e308,
        -1e308,
        5e-324,
        2**31,
        2**63,
        2**64,
        10**29,
        10**299,
        10**300,
    ),
    *(10**400, float("nan"), float("inf"), float("-inf"), -0.0, True, False, None),
]
WORDS: list[Any] = [
    *(
        "",
        " ",
        "on",
        "off",
        "unavailable",
        "unknown",
        "locked",
        "nan",
        "NaN",
        "inf",
        "1e999",
        "-1e400",
        "1_000",
        "0x10",
        "٣",
    ),
    *(
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff\ud800",
        "\U0001f4a1",
        "é" * 300,
        "9" * 400,
        "x" * 5_000,
        "²",
        "\u202eabc",
        "\n\r\t",
    ),
    *(
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-11-21T12:00:00",
        "2026-02-30T00:00:00Z",
        "now",
        "0",
    ),
    *(
        "1969-12-31T23:59:59.999999+00:00",
        "2026-11-21T12:10:14.712930+00:00",
        "2150-01-01T00:00:00Z",
        "sensor.a",
        "light.b",
    ),
    *(
        "switch:0",
        "switch:1",
        "switch:00",
        "switch:-1",
        "switch:²",
        "switch:99999",
        "em:0",
        "light:0",
        "W",
        "°C",
        "%",
        "power",
    ),
]
_TIME = re.compile(rb"2026-11-21T12:\d\d:\d\d")
KEYS = [word for word in WORDS if len(word) < 50] + [
    "cover:0",
    "emdata:0",
    "input:0",
    "state",
    "attributes",
    "error",
    "code",
    "id",
]


@cache
def recorded(vendor: str) -> dict[str, str]:
    """What this vendor really answered, by the name of the file."""
    return {path.stem: path.read_text() for path in sorted((PAYLOADS / vendor).glob("*.json"))}


@cache
def excerpt(vendor: str, name: str, part: int) -> str:
    """A recorded answer; of a long list, some of it."""
    text = recorded(vendor)[name]
    answer = json.loads(text)
    return (
        json.dumps(answer[part::MOST_OF_A_LIST])
        if isinstance(answer, list) and len(answer) > MOST_OF_A_LIST
        else text
    )


def anything(dice: random.Random, deep: int = 3) -> Any:
    """Arbitrary JSON, and what only looks like it."""
    form = dice.random()
    if deep and form < 0.2:
        return [anything(dice, deep - 1) for _ in range(dice.randrange(4))]
    if deep and form < 0.4:
        return {dice.choice(KEYS): anything(dice, deep - 1) for _ in range(dice.randrange(4))}
    if form < 0.41:
        return nested(dice.choice((10, 49, 50, 51, 60, 300)), dice.choice(([], {})))
    if form < 0.6:
        return dice.choice(
            (
                dice.uniform(-1e6, 1e6),
                dice.randrange(-(10**6), 10**6),
                dice.uniform(-1, 1) * 10 ** dice.randrange(300),
            )
        )
    return dice.choice(NUMBERS) if form < 0.8 else dice.choice(WORDS)


def nested(deep: int, inner: Any) -> Any:
    for _ in range(deep):
        inner = [inner] if isinstance(inner, list) else {"a": inner}
    return inner


def mutated(dice: random.Random, answer: Any) -> Any:
    """An answer with a few parts of it replaced, removed, renamed, doubled or swapped."""
    holder = [answer]
    for _ in range(dice.choice((0, 1, 1, 2, 3, 4, 6))):
        damage(dice, *dice.choice(list(places(holder)) or [(holder, 0)]))
    return holder[0] if holder else None


def places(holder: Any, deep: int = 8) -> Iterator[tuple[Any, Any]]:
    """Every list and object inside, not too deep, with each of its keys."""
    for key, inner in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        yield holder, key
        if deep and inner and isinstance(inner, list | dict):
            yield from places(inner, deep - 1)


def damage(dice: random.Random, holder: Any, key: Any) -> None:
    if not holder:
        return
    how = dice.random()
    if how < 0.45:
        holder[key] = kindred(dice, holder[key])
    elif how < 0.6:
        holder[key] = anything(dice)
    elif how < 0.67:
        del holder[key]
    elif how < 0.79 and isinstance(holder, dict):
        holder[dice.choice(KEYS)] = holder.pop(key)
    elif how < 0.92 and isinstance(holder, dict):
        holder[dice.choice(KEYS)] = holder[key]
    else:
        other = (
            dice.choice(list(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
        )
        holder[key], holder[other] = holder[other], holder[key]


def kindred(dice: random.Random, value: Any) -> Any:
    """Of the same type, and likely to get further for it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return dice.choice(
            (
                value * 10 ** dice.randrange(20),
                -value,
                dice.uniform(-1e6, 1e6),
                dice.choice(NUMBERS),
            )
        )
    if not isinstance(value, str):
        return anything(dice)
    domain = dice.choice(
        ("sensor", "light", "switch", "climate", "number", "lock", "binary_sensor", "x")
    )
    other = dice.choice(
        (
            f"{domain}.n{dice.randrange(100)}",
            f"{dice.uniform(-1e5, 1e5):g}",
            value.swapcase(),
            value + "\x00",
        )
    )
    return dice.choice((dice.choice(WORDS), other))


def as_bytes(dice: random.Random, answer: Any) -> bytes:
    body = json.dumps(answer, ensure_ascii=dice.random() < 0.5).encode(errors="surrogatepass")
    body = _TIME.sub(
        lambda _: b"2026-11-21T12:%02d:%02d" % (dice.randrange(60), dice.randrange(60)), body
    )
    if dice.random() >= BROKEN_BYTES:
        return body
    cut = dice.randrange(len(body))
    return dice.choice(
        (
            b"",
            body[:cut],
            body[cut:],
            b"\xef\xbb\xbf" + body,
            body[:cut] + bytes([dice.randrange(256)]) + body[cut + 1 :],
        )
    )


class Liar(Http):
    """A wire that gives bytes for each path, hostile for one. JSON is still read strictly."""

    def __init__(self, dice: random.Random, vendor: str) -> None:
        super().__init__("http://127.0.0.1", credential="secret")
        self.dice, self.vendor = dice, vendor
        self.scene: dict[str, str] = {}
        self.hostile: tuple[str, bytes] = ("", b"")
        devices = {
            name.removesuffix("_status") for name in recorded(vendor) if name.endswith("_status")
        }
        self.devices = sorted(
            device for device in devices if f"{device}_info" in recorded(vendor)
        ) or [""]

    def set_scene(self) -> bytes:
        """Another device, and another answer that is hostile."""
        device = self.dice.choice(self.devices)
        scene = SCENES.get(self.vendor, {".*": self.dice.choice(list(recorded(self.vendor)))})
        self.scene = {pattern: name.format(device=device) for pattern, name in scene.items()}
        patterns = list(self.scene)
        pattern = self.dice.choice(
            patterns + 3 * patterns[1:2]
        )  # what devices say, more than all else
        is_like_it = self.dice.random() < 0.9
        answer = (
            mutated(self.dice, json.loads(self.friendly(pattern)))
            if is_like_it
            else anything(self.dice)
        )
        self.hostile = (pattern, as_bytes(self.dice, answer))
        return self.hostile[1]

    def fetch(self, method: str, path: str, **_: Any) -> bytes:
        assert path.startswith("/") and ".." not in path, path
        if self.dice.random() < REFUSALS:
            raise self.dice.choice((ApiError, ApiRefused))(
                "It said no.", status=self.dice.choice((None, 400, 401, 404, 500))
            )
        if re.fullmatch(self.hostile[0], path):
            return self.hostile[1]
        pattern = next((pattern for pattern in self.scene if re.fullmatch(pattern, path)), None)
        return self.friendly(pattern).encode() if pattern else b"null"

    def friendly(self, pattern: str) -> str:
        return excerpt(self.vendor, self.scene[pattern], self.dice.randrange(MOST_OF_A_LIST))


@dataclass
class Output:
    """What came out of a client for one hostile answer."""

    vendor: str
    devices: list[DeviceSpec]
    vendor_ids: list[str]
    readings: list[Reading]


@dataclass
class Attack:
    """So many hostile answers through one vendor's client.

    `uncaught` counts exceptions that no caller expects, by place.
    """

    vendor: str
    dice: random.Random
    answers: int = 0
    devices: int = 0
    readings: int = 0
    uncaught: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.liar = Liar(self.dice, self.vendor)
        self.load = vendors.load(self.vendor)
        self.ids: list[str] = ["nobody"]

    def run(self, count: int, every: int) -> Iterator[Output]:
        """Yields every so many-th output."""
        for number in range(count):
            body = self.liar.set_scene()
            try:
                output = self._ask()
            except Exception as error:
                self.uncaught[f"{self.vendor}: {self._where(error)}"] += 1
                if len(self.uncaught) < 10:
                    print(f"{body[:2_000]!r}\n{traceback.format_exc()}", file=sys.stderr)
                continue
            self.answers += 1
            self.devices += len(output.devices)
            self.readings += len(output.readings)
            if number % every == 0:
                yield output

    def _ask(self) -> Output:
        devices: list[DeviceSpec] = told(lambda: self._client().devices())
        for device in devices:
            check_device(device)
        if devices and self.dice.random() < 0.1:
            self.ids = [device.vendor_id for device in devices]
        wanted = [device.vendor_id for device in devices] or self.ids
        if self.dice.random() < 0.2:
            wanted = [self.dice.choice(wanted)]
        readings: list[Reading] = told(lambda: self._client().read(wanted))
        self.dice.choice((self._identify, self._write, self._history))(self.dice.choice(wanted))
        for reading in readings:
            check_reading(reading)
        return Output(self.vendor, devices, wanted, readings)

    def _client(self) -> Vendor:
        return self.load(self.liar)

    def _identify(self, _: str) -> None:
        for identity in told(lambda: [self._client().identify()]):
            assert isinstance(identity.key, str) and isinstance(identity.name, str)

    def _write(self, vendor_id: str) -> None:
        attribute = self.dice.choice(
            ("on", "brightness", "locked", "mode", "target_temperature", "value", "position", "no")
        )
        told(
            lambda: [
                self._client().write(
                    vendor_id, attribute, self.dice.choice((True, False, 21.0, 50.5, -1.0, "heat"))
                )
            ]
        )

    def _history(self, vendor_id: str) -> None:
        if self.load.history is not Vendor.history:
            for reading in told(
                lambda: self._client().history(vendor_id, SINCE, SINCE + timedelta(hours=1))
            ):
                check_reading(reading)

    @staticmethod
    def _where(error: Exception) -> str:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def called() -> list[str]:
    """The vendors that are called: where devices push, nobody answers."""
    return [name for name in vendors.names() if not vendors.load(name).pushes]


def main(
    seed: int, count: int, every: int, file: Path, said: Callable[[str], object] = print
) -> None:
    """`count` is for all vendors together. Says the sums as JSON."""
    names = called()
    attacks = [Attack(name, random.Random(f"{seed} {name}")) for name in names]
    shares = [count // len(names) + (place < count % len(names)) for place in range(len(names))]
    outputs = [
        output
        for attack, share in zip(attacks, shares, strict=True)
        for output in attack.run(share, every)
    ]
    file.write_bytes(pickle.dumps(outputs))
    uncaught = sum((attack.uncaught for attack in attacks), Counter())
    sums = {
        what: sum(getattr(attack, what) for attack in attacks)
        for what in ("answers", "devices", "readings")
    }
    said(json.dumps({**sums, "outputs": len(outputs), "uncaught": uncaught}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
