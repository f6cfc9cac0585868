"""Against a real Home Assistant: run with `make peers`, which sets HA_URL and HA_TOKEN.

It needs Home Assistant's demo integration, switch.heater whose relay drives sensor.heater_power,
and input_boolean.flaky, which makes that switch unavailable while it is on. The tests that restart
it stop the process that was started beside this one, and start it again with the same words.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import time_machine
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from core import rules
from core.models import Attribute, Device, Gateway, Observation, Receipt
from core.models.device_command import State
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, bearer
from core.readings import Kind, Source, Value
from core.tasks import decide, gateways, poll, react
from core.tasks.explain import explain
from core.tasks.orders import send
from core.vendors.home_assistant import Client
from tests.core.tasks.listening.listeners import until

pytestmark = pytest.mark.peers

HEATER, POWER, FLAKY = "switch.heater", "sensor.heater_power", "input_boolean.flaky"
RELAY, LIGHT = "input_boolean.heater_relay", "light.bed_light"
RAIN, DRYER = "sensor.rain", "sensor.dryer"
MORE_TEMPLATES = """
      - name: "Rain"
        state: "3.4"
      - name: "Dryer"
        device_class: power
        unit_of_measurement: W
        state: "1500"
"""
"""Without ids: of an entity that has one, Home Assistant itself keeps the first unit."""
LEAST_DEVICES = 40
LONGEST_START = 60
"""Seconds."""


def needed(name: str) -> str:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not set: no Home Assistant to talk to (run with make peers)")
    return os.environ[name]


def client(token: str | None = None) -> Client:
    """A client is for one piece of work: a new one each time."""
    credential = needed("HA_TOKEN") if token is None else token
    return Client(Http(needed("HA_URL"), credential=credential, networks=settings.GATEWAY_NETWORKS))


def value(vendor_id: str, attribute: str) -> Value | None:
    return {reading.attribute: reading.value for reading in client().read([vendor_id])}[attribute]


def becomes(vendor_id: str, attribute: str, expected: Value | None) -> bool:
    """Whether it shows the value within the time that the vendor says it needs to settle."""
    until = time.monotonic() + Client.settle.total_seconds()
    while (now := value(vendor_id, attribute)) != expected and time.monotonic() < until:
        time.sleep(0.05)
    return now == expected


@pytest.fixture(autouse=True)
def rested() -> None:
    """The heater is there, and off."""
    client().write(FLAKY, "on", False)
    assert becomes(FLAKY, "on", False)
    client().write(HEATER, "on", False)
    assert becomes(HEATER, "on", False)


@pytest.fixture
def away() -> Iterator[None]:
    """The heater cannot be reached."""
    client().write(FLAKY, "on", True)
    assert becomes(HEATER, "on", None)
    yield
    client().write(FLAKY, "on", False)
    assert becomes(FLAKY, "on", False)


# The client


def test_it_says_who_it_is():
    identity = client().identify()
    assert (identity.name, client().identify()) == ("Peer", identity)


def test_a_wrong_token_is_refused():
    with pytest.raises(ApiRefused) as caught:
        client("wrong").identify()
    assert caught.value.status == 401


def test_it_discovers_every_entity_that_can_be_measured_or_switched():
    devices = {device.vendor_id: device for device in client().devices()}
    domains = {vendor_id.partition(".")[0] for vendor_id in devices}
    assert domains == {
        "switch",
        "light",
        "input_boolean",
        "sensor",
        "binary_sensor",
        "climate",
        "number",
        "lock",
    }
    assert len(devices) >= LEAST_DEVICES
    assert all(device.attributes for device in devices.values())


def test_entities_of_one_device_stand_together():
    hardware = {found.vendor_id: found.hardware for found in client().devices()}
    suns = {id for name, id in hardware.items() if name.startswith("sensor.sun_")}
    assert len(suns) == 1 and suns != {""}
    assert hardware[HEATER] == hardware[POWER] == ""


def test_what_it_reads_is_what_it_discovered():
    devices = client().devices()
    discovered = {
        (device.vendor_id, attribute.name) for device in devices for attribute in device.attributes
    }
    assert {
        (r.vendor_id, r.attribute) for r in client().read([d.vendor_id for d in devices])
    } == discovered


def test_every_value_is_of_its_attributes_kind():
    kinds = {
        (device.vendor_id, attribute.name): attribute.kind
        for device in client().devices()
        for attribute in device.attributes
    }
    types = {Kind.NUMBER: (int, float), Kind.BOOLEAN: bool, Kind.TEXT: str, Kind.CHOICE: str}
    for reading in client().read([vendor_id for vendor_id, _ in kinds]):
        kind = kinds[reading.vendor_id, reading.attribute]
        assert reading.value is None or isinstance(reading.value, types[kind]), reading


def test_the_power_follows_the_switch():
    assert becomes(POWER, "power", 0.4)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    assert becomes(POWER, "power", 1850)


def test_the_time_of_a_change_is_its_own():
    before = datetime.now(UTC)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    [reading] = client().read([HEATER])
    assert before <= reading.observed_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "values"),
    [
        ("light.bed_light", "brightness", (37.0, 100.0, 5.0, 0.0)),
        ("light.bed_light", "on", (True, False)),
        ("climate.heatpump", "target_temperature", (19.0, 21.5)),
        ("climate.heatpump", "mode", ("off", "heat")),
        ("number.volume", "value", (30.0, 42.0)),
        ("lock.front_door", "locked", (False, True)),
        (RELAY, "on", (True, False)),
    ],
)
def test_what_is_ordered_is_read_back(vendor_id, attribute, values):
    for ordered in values:
        client().write(vendor_id, attribute, ordered)
        assert becomes(vendor_id, attribute, ordered)


def test_an_unavailable_switch_accepts_and_does_nothing(away):
    client().write(HEATER, "on", True)
    assert value(HEATER, "on") is None
    assert value(RELAY, "on") is False


def test_an_unavailable_switch_is_discovered_as_it_was(away):
    device = next(device for device in client().devices() if device.vendor_id == HEATER)
    assert [(attribute.name, attribute.writable) for attribute in device.attributes] == [
        ("on", True)
    ]


def test_an_unknown_entity_is_not_read():
    assert list(client().read(["switch.nobody"])) == []


def test_a_mode_that_it_lacks_is_refused():
    with pytest.raises(ApiRefused):
        client().write("climate.heatpump", "mode", "no such mode")


def switched_since(vendor_id: str, since: datetime) -> list[Value | None]:
    """What it was then, and what it was switched to since."""
    readings = client().history(vendor_id, since, since + timedelta(hours=1))
    return [reading.value for reading in readings]


def test_history_tells_what_happened():
    since = datetime.now(UTC)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    until = time.monotonic() + 10
    while (told := switched_since(HEATER, since)) != [False, True] and time.monotonic() < until:
        time.sleep(0.2)  # the recorder commits each second
    assert told == [False, True]


# The full way


@pytest.fixture
def gateway(transactional_db) -> Gateway:
    return gateways.add("home_assistant", needed("HA_URL"), needed("HA_TOKEN")).gateway


def attribute(gateway: Gateway, vendor_id: str, name: str) -> Attribute:
    return Attribute.objects.get(device__gateway=gateway, device__vendor_id=vendor_id, name=name)


def test_a_wrong_token_stores_nothing(transactional_db):
    with pytest.raises(ApiRefused):
        gateways.add("home_assistant", needed("HA_URL"), "wrong")
    assert not Gateway.objects.exists()


def test_a_poll_stores_what_it_says_and_refuses_nothing(gateway):
    recorded = poll.poll_devices().asked.recorded
    assert recorded.complaints == []
    assert (recorded.refused, recorded.unknown) == (0, 0)
    assert attribute(gateway, POWER, "power").value == 0.4
    assert recorded.stored >= LEAST_DEVICES


def test_a_second_poll_stores_nothing_again(gateway):
    poll.poll_devices()
    again = poll.poll_devices().asked.recorded
    assert again.duplicates >= LEAST_DEVICES
    assert again.stored < 5


def test_an_order_is_confirmed_and_the_power_follows(gateway):
    poll.poll_devices()
    command = send.order(
        attribute(gateway, HEATER, "on").pk,
        True,
        source=Source.HUMAN,
        reason="The peer test says so.",
    )
    [command] = send.send([command.pk])
    assert command.state == State.CONFIRMED
    poll.poll_devices()
    assert attribute(gateway, POWER, "power").value == 1850


def test_an_unavailable_switch_never_confirms(gateway, away):
    poll.poll_devices()
    command = send.order(
        attribute(gateway, HEATER, "on").pk,
        True,
        source=Source.HUMAN,
        reason="The peer test says so.",
    )
    [command] = send.send([command.pk])
    assert command.state == State.ACCEPTED
    with time_machine.travel(timezone.now() + timedelta(minutes=15)):
        poll.poll_devices()
    command.refresh_from_db()
    assert command.state in (State.UNCONFIRMED, State.FAILED)
    assert not attribute(gateway, HEATER, "on").available


def test_a_gap_is_closed_with_what_it_recorded_while_we_were_away(gateway):
    """We were last there an hour ago; since then somebody heated, and stopped."""
    poll.poll_devices()
    began = timezone.now()
    for on, watts in ((True, 1850), (False, 0.4)):
        client().write(HEATER, "on", on)
        assert becomes(POWER, "power", watts)
        time.sleep(1.5)  # the recorder commits each second
    left = began - timedelta(hours=1)
    Observation.objects.all().delete()
    Attribute.objects.update(heard_at=left, observed_at=left)
    poll.poll_devices()
    power = attribute(gateway, POWER, "power")
    heated = power.observations.get(number=1850, observed_at__gt=began)  # not of other tests
    assert began < heated.observed_at < timezone.now()
    assert not power.silences.filter(ends_at__gt=heated.observed_at).exists()
    assert power.value == 0.4
    assert not Device.objects.get(vendor_id=HEATER).is_held(timezone.now())


# Restarted, away, switched by others: the ledger tells the truth


def parent_of(pid: int) -> int:
    """The process that started one; 0 for the first of all. Raises OSError if it is gone."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ancestors(pid: int) -> Iterator[int]:
    while pid := parent_of(pid):
        yield pid


class HomeAssistant:
    """The process that was started beside this one, then the one that was started in its place."""

    def __init__(self, pid: int, words: list[str]) -> None:
        self.pid, self.words = pid, words
        self.process: subprocess.Popen[bytes] | None = None
        self.is_stopped = False

    @classmethod
    def beside_us(cls) -> "HomeAssistant | None":
        above = set(ancestors(os.getpid()))
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "cmdline").read_text().split("\0")[:-1]
                is_hass = any(word.endswith("/hass") for word in words)
                # `make peers` starts the things between Home Assistant and this process.
                if is_hass and parent_of(int(folder.name)) in above:
                    return cls(int(folder.name), words)
        return None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """SIGTERM lets it keep what it knows, after SIGKILL it has forgotten the latest."""
        self.is_stopped = True
        os.kill(self.pid, how)
        if self.process:
            self.process.wait()
        until = time.monotonic() + LONGEST_START
        while Path(f"/proc/{self.pid}").exists() and time.monotonic() < until:
            time.sleep(0.05)

    def start(self) -> None:
        self.launch()
        until = time.monotonic() + LONGEST_START
        while not self.is_ready() and time.monotonic() < until:
            time.sleep(0.1)

    def launch(self) -> None:
        """Start it, and leave it to itself."""
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid, self.is_stopped = self.process.pid, False

    def is_ready(self) -> bool:
        with suppress(ApiError):
            return (
                len(list(client().devices())) >= LEAST_DEVICES and value(HEATER, "on") is not None
            )
        return False

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.stop(how)
        self.start()


@pytest.fixture(scope="module")
def process() -> Iterator[HomeAssistant]:
    found = HomeAssistant.beside_us()
    if found is None:
        pytest.skip(
            "no process of Home Assistant was started beside this one: it cannot be restarted "
            "(run with make peers)"
        )
    yield found
    if found.process and not found.is_stopped:
        found.stop()


@pytest.fixture
def peer(process: HomeAssistant) -> Iterator[HomeAssistant]:
    """One that may be stopped. It runs when a test begins and when it is over."""
    yield process
    if process.is_stopped:
        process.start()


@pytest.fixture
def in_the_middle(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Do something once, between an order's acceptance and the first time that it is read back."""

    def arrange(happens: Callable[[], object]) -> None:
        waiting = [happens]

        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            if waiting:
                waiting.pop()()

        monkeypatch.setattr(send, "time", SimpleNamespace(sleep=sleep))

    return arrange


def order(gateway: Gateway, on: bool = True, vendor_id: str = HEATER):
    pk = attribute(gateway, vendor_id, "on").pk
    return send.order(pk, on, source=Source.HUMAN, reason="The peer test says so.")


def sent(command):
    [command] = send.send([command.pk])
    return command


def polled(command, after: timedelta = timedelta()):
    """The command as it is after a poll, so much later."""
    with time_machine.travel(timezone.now() + after):
        poll.poll_devices(force=True)
    command.refresh_from_db()
    return command


def switched_by_somebody(vendor_id: str, service: str) -> None:
    """By another program, with words of its own."""
    http = Http(needed("HA_URL"), credential=needed("HA_TOKEN"), networks=settings.GATEWAY_NETWORKS)
    http.auth = bearer(http.credential)
    http.post(f"/api/services/{vendor_id.partition('.')[0]}/{service}", {"entity_id": vendor_id})


def relay_since(moment: datetime) -> list[Value | None]:
    """What the heater's relay was switched to since then, as Home Assistant itself has recorded
    it."""
    time.sleep(1.5)  # the recorder commits each second
    return switched_since(RELAY, moment)[1:]


def test_an_order_that_outlives_a_restart_is_confirmed(gateway, peer, in_the_middle):
    poll.poll_devices()
    in_the_middle(peer.restart)
    command = sent(order(gateway))
    assert value(HEATER, "on") is True
    assert polled(command).state == State.CONFIRMED
    assert command.attempts == 1


def test_an_order_that_a_crash_undid_is_never_confirmed(gateway, peer, in_the_middle):
    peer.restart()  # what it knows of the relay from now on is that it is off
    poll.poll_devices(force=True)
    in_the_middle(lambda: peer.restart(signal.SIGKILL))
    command = sent(order(gateway))
    assert value(RELAY, "on") is False
    assert command.state == State.ACCEPTED
    assert polled(command, after=timedelta(minutes=15)).state == State.UNCONFIRMED
    assert value(HEATER, "on") is False


def test_what_it_says_while_it_starts_confirms_nothing_that_is_not_so(gateway, peer, in_the_middle):
    peer.restart()
    poll.poll_devices(force=True)
    in_the_middle(lambda: (peer.stop(signal.SIGKILL), peer.launch()))
    command = sent(order(gateway))
    seen = {command.state}
    while not peer.is_ready():
        seen.add(polled(command).state)
    assert seen == {State.ACCEPTED}
    assert polled(command, after=timedelta(minutes=15)).state == State.UNCONFIRMED


def test_an_order_while_it_is_down_is_sent_once_it_is_back_and_only_once(gateway, peer):
    poll.poll_devices()
    peer.stop()
    command = sent(order(gateway))
    assert command.state == State.SENDING
    assert polled(command).state == State.SENDING
    peer.start()
    began = datetime.now(UTC)
    assert polled(command).state == State.REQUESTED
    assert polled(command, after=timedelta(seconds=15)).state == State.CONFIRMED
    switched_by_somebody(HEATER, "turn_off")
    assert becomes(HEATER, "on", False)
    for minutes in (1, 15):
        polled(command, after=timedelta(minutes=minutes))
    assert (command.state, command.attempts) == (State.CONFIRMED, 2)
    assert relay_since(began) == [True, False]


def test_an_order_that_grew_old_while_it_was_down_is_not_sent(gateway, peer):
    poll.poll_devices()
    peer.stop()
    tried, waiting = sent(order(gateway)), order(gateway, vendor_id=LIGHT)
    assert polled(waiting, after=timedelta(minutes=30)).state == State.EXPIRED
    tried.refresh_from_db()
    assert tried.state == State.FAILED
    peer.start()
    polled(tried, after=timedelta(minutes=31))
    assert (value(HEATER, "on"), value(LIGHT, "on")) == (False, False)


def test_a_switch_that_goes_away_in_the_middle_is_not_confirmed_while_it_is_away(
    gateway, in_the_middle
):
    poll.poll_devices()
    in_the_middle(lambda: switched_by_somebody(FLAKY, "turn_on"))
    command = sent(order(gateway))
    assert value(RELAY, "on") is True
    assert command.state == State.ACCEPTED
    assert polled(command, after=timedelta(seconds=30)).state == State.ACCEPTED
    assert polled(command, after=timedelta(minutes=15)).state == State.UNCONFIRMED


def test_a_switch_that_comes_back_in_time_is_confirmed(gateway, in_the_middle):
    poll.poll_devices()
    in_the_middle(lambda: switched_by_somebody(FLAKY, "turn_on"))
    command = sent(order(gateway))
    switched_by_somebody(FLAKY, "turn_off")
    assert becomes(HEATER, "on", True)
    assert polled(command, after=timedelta(seconds=30)).state == State.CONFIRMED


@pytest.fixture
def ruled(gateway) -> Device:
    """The heater, under a rule that wants it on at all times and has switched it on."""
    device = Device.objects.get(gateway=gateway, vendor_id=HEATER)
    gateways.set_rule(device.pk, "schedule", {"on": "00:00-24:00"})
    poll.poll_devices()
    decide.decide()
    assert value(HEATER, "on") is True
    return device


def is_held(device: Device) -> bool:
    device.refresh_from_db()
    return device.is_held(timezone.now())


def test_what_a_rule_switched_is_no_persons_change(ruled):
    poll.poll_devices()
    assert not is_held(ruled)


def test_what_a_person_switched_in_home_assistant_keeps_the_rule_away(ruled):
    poll.poll_devices()
    switched_by_somebody(HEATER, "turn_off")
    assert becomes(HEATER, "on", False)
    poll.poll_devices()
    assert is_held(ruled)
    assert ruled.hold_reason == "changed at the device itself: on to off"
    decide.decide()
    assert value(HEATER, "on") is False


def test_a_person_who_undoes_at_once_what_a_rule_did_keeps_it_away_too(ruled):
    switched_by_somebody(HEATER, "turn_off")
    assert becomes(HEATER, "on", False)
    poll.poll_devices()
    assert is_held(ruled)


def test_a_restart_is_no_persons_change(ruled, peer):
    peer.stop()
    poll.poll_devices(force=True)
    peer.start()
    poll.poll_devices(force=True)
    decide.decide()
    assert not is_held(ruled)
    assert value(HEATER, "on") is True


# What its entities are changes under us


@pytest.fixture
def templates(peer: HomeAssistant) -> Iterator[Callable[[str, str], None]]:
    """Replaces a text in its templates and reloads them, as a person does who edits them."""
    config = Path(peer.words[peer.words.index("-c") + 1]) / "configuration.yaml"
    before = config.read_text()

    def change(old: str, new: str) -> None:
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
        authorized().post("/api/services/template/reload", {})

    yield change
    config.write_text(before)
    authorized().post("/api/services/template/reload", {})


@pytest.fixture
def more(templates, transactional_db) -> Gateway:
    """A home with a sensor that tells text, as it has no unit, and one that measures power."""
    templates("template:\n  - sensor:", f"template:\n  - sensor:{MORE_TEMPLATES.rstrip()}")
    assert becomes(RAIN, "value", "3.4")
    assert becomes(DRYER, "power", 1500)
    gateway = gateways.add("home_assistant", needed("HA_URL"), needed("HA_TOKEN")).gateway
    poll.poll_devices()
    return gateway


def authorized() -> Http:
    http = Http(needed("HA_URL"), credential=needed("HA_TOKEN"), networks=settings.GATEWAY_NETWORKS)
    http.auth = bearer(http.credential)
    return http


def test_a_template_that_goes_from_watts_to_kilowatts_stays_in_watts(more, templates):
    heater = Device.objects.get(gateway=more, vendor_id=HEATER)
    gateways.set_rule(heater.pk, "schedule", {"on": "00:00-24:00"})
    decide.decide()
    templates('W\n        state: "1500"', 'kW\n        state: "1.6"')
    assert becomes(DRYER, "power", 1.6)
    recorded = poll.poll_devices().asked.recorded
    power = attribute(more, DRYER, "power")
    assert (power.value, power.unit, recorded.refused, recorded.changes) == (1600, "W", 0, [])
    decide.decide()
    receipts = Receipt.objects.filter(device=heater)
    assert [explain(receipt.pk).agrees for receipt in receipts] == [True] * len(receipts)
    assert receipts


def test_a_template_of_another_quantity_is_stored_apart(more, templates):
    templates('name: "Rain"', 'name: "Rain"\n        unit_of_measurement: mm')
    assert becomes(RAIN, "value", 3.4)
    poll.poll_devices()
    templates("unit_of_measurement: mm", "unit_of_measurement: lx")
    templates('state: "3.4"', 'state: "5.5"')
    assert becomes(RAIN, "value", 5.5)
    [sentence] = poll.poll_devices().asked.recorded.changes
    assert "is a number in lx now, which does not go with a number in mm" in sentence
    assert attribute(more, RAIN, "value").value == 5.5
    assert attribute(more, RAIN, "value (mm)").value == 3.4


def test_a_text_that_becomes_a_number_is_followed(more, templates):
    assert attribute(more, RAIN, "value").value == "3.4"
    templates('name: "Rain"', 'name: "Rain"\n        unit_of_measurement: mm')
    assert becomes(RAIN, "value", 3.4)
    recorded = poll.poll_devices().asked.recorded
    rain = attribute(more, RAIN, "value")
    assert (rain.kind, rain.unit, rain.value) == (Kind.NUMBER, "mm", 3.4)
    assert (recorded.refused, len(recorded.changes)) == (0, 1)
    assert attribute(more, RAIN, "value (text)").value == "3.4"
    assert poll.poll_devices().asked.recorded.changes == []


def test_modes_that_it_did_not_have_are_stored_and_may_be_ordered(gateway):
    poll.poll_devices()
    path = "/api/states/climate.heatpump"
    shown = authorized().get(path)
    modes = {**shown["attributes"], "hvac_modes": ["cool", "off"]}
    authorized().post(path, {"state": "cool", "attributes": modes})
    try:
        recorded = poll.poll_devices().asked.recorded
        mode = attribute(gateway, "climate.heatpump", "mode")
        assert (mode.choices, mode.value, recorded.refused) == (["cool", "off"], "cool", 0)
        assert mode.ordered_value("cool") == "cool"
    finally:
        authorized().post(path, {"state": shown["state"], "attributes": shown["attributes"]})


# What it tells by itself


def test_what_home_assistant_tells_is_stored_within_a_second(gateway):
    """From the moment that another program switches it, to its value in the database."""
    poll.poll_devices()
    with until() as turn_until:
        turn_until(lambda: Gateway.objects.filter(pk=gateway.pk, listened_until__gt=Now()).exists())
        seconds = []
        for on in (True, False, True, False, True):
            began = time.monotonic()
            switched_by_somebody(RELAY, "turn_on" if on else "turn_off")
            turn_until(lambda on=on: attribute(gateway, HEATER, "on").value is on)
            seconds.append(time.monotonic() - began)
            turn_until(
                lambda on=on: attribute(gateway, POWER, "power").value == (1850 if on else 0.4)
            )
    print(f"device to stored: {', '.join(f'{one:.3f}' for one in sorted(seconds))} s")
    assert sorted(seconds)[2] < 1
    gateway.refresh_from_db()
    assert gateway.listened_until is None


def test_a_wrong_token_is_a_refusal_and_stops_the_listener(gateway):
    gateways.change(gateway.pk, credential="wrong")
    with until() as turn_until:
        turn_until(lambda: Gateway.objects.get().refused)
    assert Gateway.objects.get().retry_at > timezone.now() + timedelta(minutes=55)


def test_home_assistant_that_restarts_is_listened_to_again(gateway, peer):
    poll.poll_devices()
    with until() as turn_until:
        is_listened_to = Gateway.objects.filter(pk=gateway.pk, listened_until__gt=Now()).exists
        turn_until(is_listened_to)
        peer.stop()
        turn_until(lambda: not is_listened_to())
        peer.start()
        turn_until(is_listened_to)
        switched_by_somebody(RELAY, "turn_on")
        turn_until(lambda: attribute(gateway, HEATER, "on").value is True)


# Rules that look at its other devices, and at their past

THERMOMETER, WINDOW = "sensor.attic", "binary_sensor.attic_window"
AIRING = '''"""On while it is warm for two minutes and the window is shut."""

from dataclasses import dataclass

from core.rules import Decision, device_option

SIGNALS = ()
PAST_MINUTES = 2


@dataclass(frozen=True)
class Options:
    thermometer: int = device_option("Whose temperature")
    window: int = device_option("Which window")


def decide(situation):
    warm = situation.other(situation.options.thermometer)
    is_warm = warm.was("temperature", above=25, for_minutes=2)
    is_open = situation.other(situation.options.window).value("window")
    return Decision(is_warm and not is_open, f"warm: {is_warm}, open: {is_open}")
'''


def shows(vendor_id: str, state: str, **attributes: str) -> None:
    """Have Home Assistant show a state, as an integration of its own would."""
    authorized().post(f"/api/states/{vendor_id}", {"state": state, "attributes": attributes})


def thermometer_shows(degrees: float) -> None:
    shows(THERMOMETER, str(degrees), device_class="temperature", unit_of_measurement="°C")
    assert becomes(THERMOMETER, "temperature", degrees)


def window_is(state: str) -> None:
    shows(WINDOW, state, device_class="window")
    assert becomes(WINDOW, "window", state == "on")


@pytest.fixture
def attic(transactional_db) -> Gateway:
    """A home with a thermometer at 20 °C and a window that is shut."""
    thermometer_shows(20)
    window_is("off")
    added = gateways.add("home_assistant", needed("HA_URL"), needed("HA_TOKEN")).gateway
    poll.poll_devices()
    return added


def with_rule(gateway: Gateway, rule: str, **options: object) -> Device:
    heater = Device.objects.get(gateway=gateway, vendor_id=HEATER)
    return gateways.set_rule(heater.pk, rule, options)


def decided(device: Device, after: timedelta) -> str:
    """What is said of it after a poll, so much later."""
    with time_machine.travel(timezone.now() + after):
        poll.poll_devices(force=True)
        decide.decide()
    device.refresh_from_db()
    return device.decision


def all_agree() -> bool:
    receipts = list(Receipt.objects.all())
    return bool(receipts) and all(explain(receipt.pk).agrees for receipt in receipts)


def test_a_thermometer_switches_after_ten_minutes_above_its_limit(attic):
    thermometer = Device.objects.get(vendor_id=THERMOMETER)
    heater = with_rule(attic, "when", device=thermometer.pk, limit=25, minutes=10)
    assert "not above 25" in decided(heater, timedelta(minutes=1))
    thermometer_shows(26)
    for minutes in (5, 9):
        assert f"above 25 for {minutes} of 10 min" in decided(heater, timedelta(minutes=minutes))
        assert becomes(HEATER, "on", False)
    sentence = decided(heater, timedelta(minutes=10, seconds=5))
    assert "above 25 for 10 min" in sentence
    assert becomes(HEATER, "on", True)
    thermometer_shows(23.5)
    assert "not above 25" in decided(heater, timedelta(minutes=11))
    assert becomes(HEATER, "on", False)
    assert all_agree()


def test_a_rule_over_two_devices(attic, monkeypatch, tmp_path):
    (tmp_path / "airing.py").write_text(AIRING)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    numbers = {
        name: Device.objects.get(vendor_id=vendor_id).pk
        for name, vendor_id in (("thermometer", THERMOMETER), ("window", WINDOW))
    }
    heater = with_rule(attic, "airing", **numbers)
    thermometer_shows(27)
    assert "warm: False, open: False" in decided(heater, timedelta(minutes=1))
    assert "warm: True, open: False" in decided(heater, timedelta(minutes=3))
    assert becomes(HEATER, "on", True)
    window_is("on")
    assert "warm: True, open: True" in decided(heater, timedelta(minutes=4))
    assert becomes(HEATER, "on", False)
    assert all_agree()


def test_when_the_time_is_over_it_switches_though_nothing_new_is_told(attic, monkeypatch):
    """By the clock, and what Home Assistant tells by itself: twelve seconds above the limit."""
    monkeypatch.setattr(react, "LEAST_PAUSE", timedelta(seconds=2))
    thermometer = Device.objects.get(vendor_id=THERMOMETER)
    with_rule(attic, "when", device=thermometer.pk, limit=25, minutes=0.2)
    with until() as turn_until:
        is_listened_to = Gateway.objects.filter(listened_until__gt=Now()).exists
        turn_until(is_listened_to)
        began = time.monotonic()
        thermometer_shows(28)
        turn_until(lambda: attribute(attic, HEATER, "on").value is True)
        seconds = time.monotonic() - began
    print(f"above the limit to switched: {seconds:.1f} s")
    assert 12 <= seconds < 24
    assert all_agree()
