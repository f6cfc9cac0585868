"""The contract of core/vendors, held by every file in it: a new vendor is tested here without a new
line."""

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core import vendors
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import AttributeSpec, DeviceSpec, Kind, Reading
from core.vendors import Identity, Vendor

PAYLOADS = Path(__file__).parent / "payloads"
NAME = re.compile(r"[a-z][a-z0-9_]*")
SINCE = datetime(2026, 11, 21, 12, tzinfo=UTC)
each_vendor = pytest.mark.parametrize("name", vendors.names())

text = st.text(alphabet=st.characters(), max_size=20) | st.sampled_from(
    ["on", "unavailable", "nan", "1e999", "\x00", "\ud800", "9" * 300]
)
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**400, -1, 0, 1e308])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@cache
def recorded(name: str) -> list[str]:
    """What this vendor really answered, as JSON: copies are made by reading it."""
    return [path.read_text() for path in sorted((PAYLOADS / name).glob("*.json"))]


@st.composite
def damaged(draw: st.DrawFn, name: str) -> Any:
    """A recorded answer with one part of it replaced, or anything at all."""
    answers = recorded(name)
    answer = (
        json.loads(draw(st.sampled_from(answers)))
        if answers and draw(st.integers(0, 3))
        else draw(anything)
    )
    holder: Any = [answer]
    key: Any = 0
    while isinstance(holder[key], list | dict) and holder[key] and draw(st.integers(0, 5)):
        holder = holder[key]
        key = draw(
            st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        )
    if holder[key] is answer:
        return answer if draw(st.booleans()) else draw(anything)
    holder[key] = draw(anything)
    return answer


class Parrot(Http):
    """The wire replaced: says these answers in turn, whatever it is asked."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__("http://127.0.0.1", credential="secret")
        self.answers = answers
        self.said = 0

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        assert path.startswith("/") and ".." not in urlsplit(path).path, path
        self.said += 1
        return self.answers[self.said % len(self.answers)]

    def post(self, path: str, body: Any = None) -> Any:
        json.dumps(body, allow_nan=False)
        return self.get(path)

    def fetch(self, method: str, path: str, **options: Any) -> bytes:
        return json.dumps(self.get(path)).encode()


def told(call: Callable[[], Iterable[Any]]) -> list[Any]:
    """What a call yields until it fails in one of the two ways it may."""
    found: list[Any] = []
    try:
        found.extend(call())
    except (ApiError, ApiRefused) as error:
        assert str(error)
    return found


def check_device(device: DeviceSpec) -> None:
    assert isinstance(device, DeviceSpec)
    assert isinstance(device.vendor_id, str) and device.vendor_id
    assert isinstance(device.name, str) and isinstance(device.model, str)
    assert len({attribute.name for attribute in device.attributes}) == len(device.attributes)
    for attribute in device.attributes:
        check_attribute(attribute)


def check_attribute(attribute: AttributeSpec) -> None:
    assert NAME.fullmatch(attribute.name) and len(attribute.name) <= 120
    assert attribute.kind in Kind
    assert len(attribute.unit) <= 20 and "\x00" not in attribute.unit
    assert all(isinstance(choice, str) and "\x00" not in choice for choice in attribute.choices)
    for bound in (attribute.minimum, attribute.maximum):
        assert bound is None or math.isfinite(bound)


def check_reading(reading: Reading) -> None:
    """The value may be nonsense, which record() refuses by name, but of a type that it can
    judge."""
    assert isinstance(reading, Reading)
    assert isinstance(reading.vendor_id, str) and isinstance(reading.attribute, str)
    assert reading.value is None or isinstance(reading.value, bool | int | float | str)
    assert reading.observed_at is None or reading.observed_at.tzinfo is not None


@each_vendor
def test_a_vendor_is_a_whole_client(name):
    client = vendors.load(name)
    assert issubclass(client, Vendor)
    assert not inspect.isabstract(client)
    assert client.settle >= timedelta(0)
    assert isinstance(client.has_timer, bool)


@each_vendor
def test_a_vendor_says_what_people_need_to_add_it(name):
    client = vendors.load(name)
    assert client.label and len(client.label) <= 40
    example = urlsplit(client.address_example)
    # One that is never asked has no address.
    assert client.pushes or (example.scheme in ("http", "https", "mqtt") and example.hostname)
    assert client.credential_hint
    assert ":".join(client.credential_fields) in client.credential_hint


def test_no_two_vendors_have_one_label():
    assert len({label for _, label in vendors.choices()}) == len(vendors.names())


@each_vendor
def test_a_vendor_has_recorded_payloads(name):
    assert recorded(name) or vendors.load(name).pushes


@each_vendor
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_whatever_the_vendor_answers_is_refused_or_well_formed(name, data):
    answers = data.draw(st.lists(damaged(name), min_size=1, max_size=3))

    def client() -> Vendor:
        return vendors.load(name)(Parrot(answers))

    for identity in told(lambda: [client().identify()]):
        assert isinstance(identity, Identity)
        assert isinstance(identity.key, str) and isinstance(identity.name, str)
    devices = told(lambda: client().devices())
    for device in devices:
        check_device(device)
    ids = [device.vendor_id for device in devices]
    for wanted in (ids, ids[:1], [data.draw(text)]):
        for reading in told(lambda wanted=wanted: client().read(wanted)):
            check_reading(reading)
    for device in devices[:2]:
        check_history(client(), device.vendor_id)


def check_history(client: Vendor, vendor_id: str) -> None:
    if type(client).history is not Vendor.history:
        for reading in told(lambda: client.history(vendor_id, SINCE, SINCE + timedelta(hours=1))):
            check_reading(reading)


@each_vendor
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    vendor_id=text,
    attribute=text | st.sampled_from(["on", "locked"]),
    value=st.booleans() | numbers | text,
    answer=anything,
)
@example(vendor_id="switch.a/../../x", attribute="on", value=True, answer=[])
def test_whatever_is_ordered_is_sent_or_refused(name, vendor_id, attribute, value, answer):
    told(lambda: [vendors.load(name)(Parrot([answer])).write(vendor_id, attribute, value)])


@each_vendor
def test_a_vendor_without_a_timer_refuses_to_revert(name):
    client = vendors.load(name)
    if client.has_timer:
        return
    with pytest.raises(ApiRefused, match="timer"):
        client(Parrot([[]])).write("switch.a", "on", True, timedelta(minutes=1))
