"""What vendors tell over a connection that stays open, against real local WebSocket servers with
recorded states and status."""

import json
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

from core import vendors
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import Cause
from core.simulator import Fault, Simulator
from core.vendors import Update, _home_assistant_socket, _shelly_socket
from tests.core.net.socket_server import SocketServer, hear, tell
from tests.core.vendors.test_contract import anything, check_reading

LOOPBACK = (ip_network("127.0.0.0/8"),)
PAYLOADS = Path(__file__).parent / "payloads"
HOUR = timedelta(hours=1)
TOKEN = "a long-lived token"  # noqa: S105
PLUG = "shellyplus1pm-a8032abe54dc"
LISTENING = [name for name in vendors.names() if vendors.load(name).listens]


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def updates(
    vendor: str,
    address: str,
    vendor_ids: list[str],
    credential: str = "",
    whole_every: timedelta = HOUR,
) -> Iterator[Update]:
    http = Http(address, credential=credential, networks=LOOPBACK, timeout_seconds=30)
    return vendors.load(vendor)(http).listen(vendor_ids, whole_every)


def told(found: Iterator[Update], is_whole: bool | None = None) -> Update:
    """The next update that is about something."""
    for update in found:
        if update.vendor_ids and is_whole in (None, update.is_whole):
            return update
    raise AssertionError("it ended")


def values(update: Update) -> dict[str, Any]:
    return {
        f"{reading.vendor_id} {reading.attribute}": reading.value for reading in update.readings
    }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_shelly_socket, _home_assistant_socket):
        monkeypatch.setattr(module, "LISTEN_SECONDS", 0.02)


# Home Assistant


STATES = {state["entity_id"]: state for state in payload("home_assistant/states")}
HEATER, POWER = "switch.heater", "sensor.heater_power"


class House:
    """Speaks as Home Assistant does, and tells what a test puts into `events`."""

    def __init__(self, *events: Any, answers: dict[str, Any] | None = None) -> None:
        self.events = events
        self.asked: list[str] = []
        self.answers = {
            "get_config": payload("home_assistant/config"),
            "subscribe_events": None,
            "get_states": list(STATES.values()),
            **(answers or {}),
        }

    def __call__(self, connection: ServerConnection) -> None:
        assert connection.request and connection.request.path == "/api/websocket"
        tell(connection, {"type": "auth_required", "ha_version": "2025.4.4"})
        if hear(connection) != {"type": "auth", "access_token": TOKEN}:
            tell(connection, {"type": "auth_invalid", "message": "Invalid access token"})
            return
        tell(connection, {"type": "auth_ok", "ha_version": "2025.4.4"})
        while True:
            asked = hear(connection)
            self.asked.append(asked["type"])
            success = asked["type"] in self.answers
            answer = {"id": asked["id"], "type": "result", "success": success}
            if success:
                tell(connection, {**answer, "result": self.answers[asked["type"]]})
            else:
                error = {"code": "unknown_error", "message": "Unknown error"}
                tell(connection, {**answer, "error": error})
            if asked["type"] == "get_states" and self.asked.count("get_states") == 1:
                for event in self.events:
                    tell(connection, {"id": 2, "type": "event", "event": event})


def change(entity_id: str, state: str | None) -> dict[str, Any]:
    new = None if state is None else {**STATES[entity_id], "state": state}
    data = {"entity_id": entity_id, "old_state": STATES[entity_id], "new_state": new}
    return {"event_type": "state_changed", "data": data, "origin": "LOCAL"}


def test_home_assistant_first_tells_all_states_as_a_poll_reads_them() -> None:
    ids = [entity_id for entity_id in STATES if entity_id.startswith(("switch.", "climate."))]
    with SocketServer(House()) as server:
        update = told(updates("home_assistant", server.address, ids, TOKEN))
    assert update.is_whole and set(update.vendor_ids) == set(ids)
    units = {r.spec.unit for r in update.readings if r.spec and r.attribute == "temperature"}
    assert units == {"°C"}
    assert {reading.vendor_id for reading in update.readings} == set(ids)
    assert all(reading.observed_at for reading in update.readings)


def test_home_assistant_then_tells_what_changes() -> None:
    with SocketServer(House(change(HEATER, "on"))) as server:
        found = updates("home_assistant", server.address, [HEATER, POWER], TOKEN)
        update = told(found, is_whole=False)
    assert values(update) == {f"{HEATER} on": True}
    assert set(update.vendor_ids) == {HEATER}


def test_of_home_assistant_others_are_not_told() -> None:
    with SocketServer(House(change(POWER, "7"), change(HEATER, "on"))) as server:
        update = told(updates("home_assistant", server.address, [HEATER], TOKEN), is_whole=False)
    assert set(update.vendor_ids) == {HEATER}


def test_an_entity_that_home_assistant_removed_has_no_reading() -> None:
    with SocketServer(House(change(HEATER, None))) as server:
        update = told(updates("home_assistant", server.address, [HEATER], TOKEN), is_whole=False)
    assert (list(update.vendor_ids), update.readings) == ([HEATER], [])


def test_home_assistant_is_asked_for_all_states_again() -> None:
    house = House()
    with SocketServer(house) as server:
        address, often = server.address, timedelta(seconds=0.05)
        found = updates("home_assistant", address, [HEATER], TOKEN, whole_every=often)
        assert [told(found, is_whole=True).is_whole for _ in range(3)] == [True] * 3
    assert house.asked.count("get_states") >= 3
    assert house.asked.count("subscribe_events") == 1


def test_home_assistant_refuses_a_wrong_token() -> None:
    with SocketServer(House()) as server, pytest.raises(ApiRefused) as caught:
        told(updates("home_assistant", server.address, [HEATER], "wrong"))
    assert caught.value.status == 401
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [({"get_states": {}}, "no list"), ({"get_states": None}, "no list")],
)
def test_an_answer_that_is_not_home_assistants_is_an_error(
    answers: dict[str, Any], sentence: str
) -> None:
    with SocketServer(House(answers=answers)) as server, pytest.raises(ApiError, match=sentence):
        told(updates("home_assistant", server.address, [HEATER], TOKEN))


def test_what_home_assistant_refuses_is_an_error_that_names_it() -> None:
    house = House()
    del house.answers["subscribe_events"]
    with (
        SocketServer(house) as server,
        pytest.raises(ApiError, match="refuses subscribe_events: Unknown error"),
    ):
        told(updates("home_assistant", server.address, [HEATER], TOKEN))


def test_something_that_speaks_otherwise_is_not_home_assistant() -> None:
    with (
        SocketServer(lambda connection: tell(connection, {"type": "hello"})) as server,
        pytest.raises(ApiError, match="does not speak as Home Assistant"),
    ):
        told(updates("home_assistant", server.address, [HEATER], TOKEN))


# Shelly


class Device:
    """A Shelly that answers GetStatus, and then tells what a test wants it to."""

    def __init__(self, *notifications: dict[str, Any], status: str = "plus_1pm_status") -> None:
        self.notifications = notifications
        self.status = payload(f"shelly/{status}")
        self.asked: list[Any] = []

    def __call__(self, connection: ServerConnection) -> None:
        assert connection.request and connection.request.path == "/rpc"
        while True:
            frame = hear(connection)
            self.asked.append(frame)
            answer = {"id": frame["id"], "src": PLUG, "dst": frame["src"], "result": self.status}
            tell(connection, answer)
            for notification in self.notifications if len(self.asked) == 1 else ():
                tell(connection, {"src": PLUG, "dst": frame["src"], **notification})


def notify(**components: Any) -> dict[str, Any]:
    params = {key.replace("_", ":"): value for key, value in components.items()}
    return {"method": "NotifyStatus", "params": {"ts": 1631186545.04, **params}}


def shelly(*notifications: dict[str, Any], many: int = 1, **options: Any) -> list[Update]:
    with SocketServer(Device(*notifications, **options)) as server:
        found = updates("shelly", server.address, [PLUG])
        return [told(found) for _ in range(many + 1)][1:]


def test_a_shelly_first_tells_its_whole_status() -> None:
    device = Device()
    with SocketServer(device) as server:
        update = told(updates("shelly", server.address, [PLUG]))
    assert update.is_whole
    assert {r.attribute for r in update.readings} >= {"on", "power", "energy", "voltage"}
    assert device.asked[0]["src"], "without a source it tells nothing"


def test_a_shelly_then_tells_what_changed_and_nothing_else() -> None:
    [update] = shelly(notify(switch_0={"id": 0, "output": True, "source": "button"}))
    [reading] = update.readings
    assert (reading.attribute, reading.value, reading.cause) == ("on", True, Cause.PERSON)
    assert not update.is_whole


def test_what_a_shelly_tells_is_of_the_channel_it_tells_it_of() -> None:
    status = payload("shelly/pro_4pm_status")
    hardware = f"shellypro4pm-{status['sys']['mac'].lower()}"
    ids = [hardware, f"{hardware}/switch:1", f"{hardware}/switch:2"]
    changes = notify(switch_2={"apower": 12.5}), notify(switch_3={"apower": 1.0})
    with SocketServer(Device(*changes, status="pro_4pm_status")) as server:
        found = updates("shelly", server.address, ids)
        whole = told(found)
        update = told(found)
    assert sorted(whole.vendor_ids) == ids
    assert {reading.vendor_id for reading in whole.readings} == set(ids)
    assert set(update.vendor_ids) == {ids[2]}
    assert [(r.vendor_id, r.attribute, r.value) for r in update.readings] == [
        (ids[2], "power", 12.5)
    ]


def test_a_mark_of_a_shelly_that_a_value_is_not_valid_counts() -> None:
    [update] = shelly(notify(switch_0={"errors": ["power_meter_failure"]}))
    assert {r.attribute: r.value for r in update.readings}["power"] is None
    after, again = shelly(
        notify(switch_0={"errors": ["power_meter_failure"]}),
        notify(switch_0={"errors": None, "apower": 5.0}),
        many=2,
    )
    assert {r.attribute: r.value for r in again.readings}["power"] == 5.0


def test_a_full_status_that_a_shelly_tells_replaces_what_was_known() -> None:
    status = payload("shelly/plus_1pm_status")
    status["switch:0"]["apower"] = 77.0
    [update] = shelly({"method": "NotifyFullStatus", "params": {"ts": 1.0, **status}})
    assert update.is_whole
    assert {r.attribute: r.value for r in update.readings}["power"] == 77.0


def test_events_of_a_shelly_are_no_values() -> None:
    event = {"method": "NotifyEvent", "params": {"events": [{"event": "btn_down"}]}}
    [update] = shelly(event, notify(switch_0={"apower": 1.0}))
    assert [reading.attribute for reading in update.readings] == ["power"]


def test_a_shelly_that_took_over_the_address_is_refused() -> None:
    with SocketServer(Device()) as server, pytest.raises(ApiRefused, match="Another device"):
        told(updates("shelly", server.address, ["shellyplus1pm-ffffffffffff"]))


def test_a_status_of_a_shelly_that_grows_without_end_is_an_error() -> None:
    flood = [notify(**{f"switch_{start}": {}}) for start in range(1, 600)]
    with (
        SocketServer(Device(*flood)) as server,
        pytest.raises(ApiError, match="more than 500 parts"),
    ):
        list(updates("shelly", server.address, [PLUG]))


@pytest.mark.parametrize("given", ["secret", "wrong", ""])
def test_a_shelly_with_a_password_wants_it_in_each_frame(given: str) -> None:
    with Simulator(devices=1, password="secret") as simulator:  # noqa: S106
        found = updates("shelly", simulator.address(0), [simulator.devices[0].id], given)
        if given == "secret":
            assert told(found).is_whole
            simulator.devices[0].on = True
            assert told(found).readings
            return
        with pytest.raises(ApiRefused, match="password") as caught:
            told(found)
        assert caught.value.status == 401


def test_a_shelly_is_asked_twice_for_a_password_and_not_more() -> None:
    with Simulator(devices=1) as simulator:
        simulator.devices[0].faults = [Fault("unauthorised")]
        with pytest.raises(ApiRefused, match="does not accept"):
            told(updates("shelly", simulator.address(0), [simulator.devices[0].id], "any"))


@pytest.mark.parametrize(
    "error",
    [
        {"code": 401, "message": "no JSON"},
        {"code": 401, "message": '{"realm": 5}'},
        {"code": 401, "message": '{"realm": "a", "nonce": 1, "algorithm": "MD5"}'},
        {"code": 404, "message": "No handler"},
        "nonsense",
    ],
)
def test_an_error_of_a_shelly_that_we_do_not_know_may_pass(error: Any) -> None:
    def talk(connection: ServerConnection) -> None:
        tell(connection, {"id": hear(connection)["id"], "error": error})
        connection.recv(timeout=30)

    with SocketServer(talk) as server, pytest.raises(ApiError):
        told(updates("shelly", server.address, [PLUG], "secret"))


# Whatever they tell


class Parrot:
    """A socket that says these messages, and then that it was closed."""

    def __init__(self, messages: list[Any]) -> None:
        self.messages = messages

    def __enter__(self) -> "Parrot":
        return self

    def __exit__(self, *error: object) -> None: ...

    def send(self, message: Any) -> None:
        json.dumps(message, allow_nan=False)

    def receive(self, seconds: float) -> Any:
        if not seconds:
            return None
        if not self.messages:
            raise ApiError("closed")
        return self.messages.pop(0)


GREETINGS: dict[str, list[Any]] = {
    "home_assistant": [
        {"type": "auth_required"},
        {"type": "auth_ok"},
        {"id": 3, "type": "result", "success": True, "result": list(STATES.values())},
    ],
    "shelly": [{"id": 1, "result": payload("shelly/plus_1pm_status")}],
}
frames = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([1, 2, 3, 4]) | anything,
        "type": st.sampled_from(["event", "result"]) | anything,
        "success": st.booleans(),
        "result": anything,
        "error": anything,
        "method": st.sampled_from(["NotifyStatus", "NotifyFullStatus"]) | anything,
        "params": st.dictionaries(st.sampled_from(["switch:0", "sys"]), anything) | anything,
        "event": st.fixed_dictionaries(
            {"event_type": st.just("state_changed")},
            optional={
                "data": st.fixed_dictionaries(
                    {}, optional={"entity_id": st.just(HEATER) | anything, "new_state": anything}
                )
                | anything
            },
        ),
    },
)


@pytest.mark.parametrize("name", GREETINGS)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(messages=st.lists(frames | anything, max_size=6), greets=st.booleans())
def test_whatever_is_told_is_refused_or_well_formed(
    name: str, messages: list[Any], greets: bool
) -> None:
    said = [*(GREETINGS[name] if greets else []), *messages]
    module = {"home_assistant": _home_assistant_socket, "shelly": _shelly_socket}[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WebSocket", lambda http, path: Parrot(said))
        found = updates(name, "http://127.0.0.1", [HEATER, PLUG], TOKEN)
        with pytest.raises((ApiError, ApiRefused)):
            for update in islice(found, 100):
                assert isinstance(update, Update)
                for reading in update.readings:
                    check_reading(reading)


def test_every_vendor_that_listens_is_tested_here_or_against_a_broker() -> None:
    assert {*GREETINGS, "mqtt"} == set(LISTENING)
