"""The simulator, asked over real HTTP: by the ordinary vendor client, and byte by byte where that
is the point."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.simulator import Fault, Simulator
from core.simulator.devices import HOME, at
from core.vendors.shelly import Client
from tests.waiting import wait_until

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
HEATER, CHARGER, APPLIANCES, LIVING_ROOM = range(4)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=5) as simulator:
        yield simulator


def client(
    simulator: Simulator, number: int, password: str = "", timeout_seconds: float = 30
) -> Client:
    http = Http(
        simulator.address(number),
        credential=password,
        networks=LOOPBACK,
        timeout_seconds=timeout_seconds,
    )
    return Client(http)


def values(simulator: Simulator, number: int) -> dict[str, Any]:
    vendor_id = simulator.devices[number].id
    return {
        reading.attribute: reading.value for reading in client(simulator, number).read([vendor_id])
    }


def switch(
    simulator: Simulator,
    number: int,
    on: bool,
    revert_after: timedelta | None = None,
    **options: Any,
) -> None:
    client(simulator, number, **options).write(simulator.devices[number].id, "on", on, revert_after)


def ask(simulator: Simulator, path: str, body: Any = None) -> Any:
    http = Http(f"http://127.0.0.1:{simulator.port}", networks=LOOPBACK)
    return http.get(path) if body is None else http.post(path, body)


def raw(simulator: Simulator, data: bytes) -> bytes:
    """What comes back for these bytes until the other side closes."""
    received = b""
    with socket.create_connection((simulator.host, simulator.port), timeout=30) as connection:
        connection.sendall(data)
        while chunk := connection.recv(65_536):
            received += chunk
    return received


# Its devices


def test_the_devices_are_those_of_a_home(simulator):
    names = [spec.name for number in range(5) for spec in client(simulator, number).devices()]
    assert names == ["Heater", "Car charger", "Kitchen appliances", "Living room", "Heater 2"]


def test_each_kind_reports_what_its_model_reports(simulator):
    reported = [
        {spec.name for spec in device.attributes}
        for k in range(4)
        for device in client(simulator, k).devices()
    ]
    meter = {"power", "voltage", "current", "energy", "frequency"}
    assert reported[HEATER] == reported[CHARGER] == meter | {"on", "chip_temperature"}
    assert reported[APPLIANCES] == meter
    assert reported[LIVING_ROOM] == {"temperature", "humidity", "battery", "battery_voltage"}


def test_a_device_is_itself_at_every_method(simulator):
    identity = client(simulator, 3).identify()
    assert (identity.key, identity.name) == (simulator.devices[3].id, "Living room")
    assert ask(simulator, "/3/shelly")["id"] == identity.key
    assert ask(simulator, "/3/rpc/Shelly.GetConfig")["sys"]["device"]["name"] == "Living room"


def test_a_switch_draws_power_when_it_is_on(simulator):
    assert values(simulator, HEATER)["power"] == 0
    simulator.devices[HEATER].on = simulator.devices[CHARGER].on = True
    assert values(simulator, HEATER)["power"] == pytest.approx(1850, rel=0.02)
    assert values(simulator, CHARGER)["power"] == pytest.approx(7200, rel=0.02)


def test_energy_counts_up_while_power_flows():
    with time_machine.travel(datetime(2026, 11, 21, 12, tzinfo=UTC), tick=False) as clock:
        device = Simulator(devices=2).devices[CHARGER]
        device.order(True)
        before = json.loads(device.status(time.time()))["switch:0"]["aenergy"]["total"]
        clock.shift(3600)
        after = json.loads(device.status(time.time()))["switch:0"]["aenergy"]["total"]
    assert after - before == pytest.approx(7200, rel=0.02)


def test_values_move_from_poll_to_poll_and_differ_between_devices():
    simulator = Simulator(devices=8)
    one, other = (
        {
            json.loads(simulator.devices[number].status(now))["temperature:0"]["tC"]
            for now in (1e9, 1e9 + 10, 1e9 + 20)
        }
        for number in (3, 7)
    )
    assert len(one) > 1 and len(other) > 1
    assert not one & other


def test_values_are_those_of_the_house_at_the_time_of_day():
    monday = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
    rows = [line.split(",") for line in HOME.read_text().splitlines()[2:]]
    column = [float(row[0]) for row in rows]
    assert at("appliances_w", monday) in (column[0], column[1008])
    assert at("appliances_w", monday + 300) in (sum(column[0:2]) / 2, sum(column[1008:1010]) / 2)
    assert at("appliances_w", monday + 14 * 86_400) == at("appliances_w", monday)


def test_the_excerpt_names_its_source_and_licence():
    first = HOME.read_text().splitlines()[0]
    assert "Luis Candanedo" in first and "CC BY 4.0" in first
    assert HOME.stat().st_size < 60_000


def test_a_thousand_devices_are_one_thread():
    before = threading.active_count()
    with Simulator(devices=1000) as simulator:
        assert client(simulator, 999).identify().name == "Living room 250"
        assert threading.active_count() == before + 1


def test_ten_thousand_devices_have_ten_thousand_ids():
    assert len({device.id for device in Simulator(devices=10_000).devices}) == 10_000


# Orders


def test_an_order_has_one_effect(simulator):
    switch(simulator, HEATER, True)
    assert simulator.devices[HEATER].on
    assert values(simulator, HEATER)["on"] is True
    assert simulator.devices[HEATER].counts() == {
        "requests": 3,
        "writes": 1,
        "effects": 1,
        "reverts": 0,
    }


def test_an_order_for_what_is_already_so_has_no_effect(simulator):
    switch(simulator, HEATER, False)
    assert simulator.devices[HEATER].counts()["effects"] == 0


def test_an_order_in_a_query_counts_too(simulator):
    http = Http(simulator.address(0), networks=LOOPBACK)
    assert http.get("/rpc/Switch.Set", {"id": 0, "on": "true"}) == {"was_on": False}
    assert simulator.devices[0].counts()["effects"] == 1


def test_the_timer_brings_it_back(simulator):
    switch(simulator, HEATER, True, timedelta(seconds=300))
    assert simulator.devices[HEATER].on
    assert ask(simulator, "/0/rpc/Shelly.GetStatus")["switch:0"]["timer_duration"] == 300
    switch(simulator, HEATER, True, timedelta(seconds=0.1))
    wait_until(lambda: not simulator.devices[HEATER].on)
    assert simulator.devices[HEATER].counts()["reverts"] == 1
    assert ask(simulator, "/0/rpc/Shelly.GetStatus")["switch:0"]["source"] == "timer"


def test_a_new_order_ends_the_timer_of_the_one_before(simulator):
    switch(simulator, HEATER, True, timedelta(seconds=300))
    [timer] = simulator._timers.values()
    switch(simulator, HEATER, True)
    assert timer.cancelled() and not simulator._timers
    assert simulator.devices[HEATER].on


def test_a_timer_that_still_runs_does_not_keep_it_from_stopping():
    with Simulator(devices=1) as simulator:
        switch(simulator, HEATER, True, timedelta(hours=1))


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("Switch.Set", {"id": 0}, -103),
        ("Switch.Set", {"id": 0, "on": True, "toggle_after": "soon"}, -103),
        ("Switch.Set", {"id": 7, "on": True}, -105),
        ("Switch.Set", None, -105),
        ("Toaster.Set", {"id": 0}, 404),
    ],
)
def test_a_bad_call_is_answered_with_an_error_in_a_frame(simulator, method, params, code):
    answer = ask(simulator, "/0/rpc", {"id": 5, "method": method, "params": params})
    assert (answer["id"], answer["src"], answer["error"]["code"]) == (
        5,
        simulator.devices[0].id,
        code,
    )


def test_what_has_no_switch_cannot_be_switched(simulator):
    answer = ask(
        simulator,
        f"/{LIVING_ROOM}/rpc",
        {"id": 1, "method": "Switch.Set", "params": {"id": 0, "on": True}},
    )
    assert answer["error"]["code"] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/0/rpc/Toaster.Get", 404),
        ("/0/rpc/Switch.Set", 500),
        ("/0/nothing", 404),
        ("/9/shelly", 404),
    ],
)
def test_a_bad_call_without_a_frame_is_answered_with_a_status(simulator, path, status):
    with pytest.raises((ApiError, ApiRefused)) as error:
        ask(simulator, path)
    assert error.value.status == status


def test_a_parameter_in_a_query_may_be_plain_text(simulator):
    http = Http(simulator.address(0), networks=LOOPBACK)
    with pytest.raises(ApiError, match="Missing or bad argument 'on'"):
        http.get("/rpc/Switch.Set", {"id": 0, "on": "maybe"})


@pytest.mark.parametrize("body", [[], "x", {"method": 3}])
def test_a_frame_without_a_method_is_no_call(simulator, body):
    with pytest.raises(ApiRefused):
        ask(simulator, "/0/rpc", body)


# Passwords


def test_the_right_password_opens():
    with Simulator(devices=1, password="correct horse") as simulator:
        assert client(simulator, 0, "correct horse").identify().name == "Heater"
        switch(simulator, 0, True, password="correct horse")
        assert simulator.devices[0].on


@pytest.mark.parametrize("password", ["", "wrong"])
def test_another_password_does_not(password):
    with Simulator(devices=1, password="correct horse") as simulator:
        with pytest.raises(ApiRefused, match="password"):
            client(simulator, 0, password).identify()
        with pytest.raises(ApiRefused):
            switch(simulator, 0, True, password=password)
        assert simulator.devices[0].counts()["effects"] == 0


@pytest.mark.parametrize(
    "header", ["Basic YWRtaW46eA==", "Digest", 'Digest nonce="' + "0" * 40 + '"', "Digest nonce=é"]
)
def test_a_header_that_answers_no_challenge_does_not_either(header):
    with Simulator(devices=1, password="x") as simulator:
        request = (
            "GET /0/rpc/Shelly.GetStatus HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {header}\r\nConnection: close\r\n\r\n"
        )
        assert raw(simulator, request.encode("latin-1")).startswith(b"HTTP/1.1 401 ")


# Faults


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("429", 429),
        ("500", 500),
        ("503", 503),
        ("garbage", None),
        ("nan", None),
        ("unreachable", None),
    ],
)
def test_a_fault_that_may_pass(simulator, kind, status):
    simulator.devices[HEATER].faults = [Fault(kind)]
    with pytest.raises(ApiError) as error:
        values(simulator, HEATER)
    assert error.value.status == status


def test_too_many_requests_say_when_to_come_again(simulator):
    simulator.devices[HEATER].faults = [Fault("429", 12)]
    with pytest.raises(ApiError) as error:
        values(simulator, HEATER)
    assert error.value.retry_after == 12


def test_the_password_may_be_refused_whatever_it_is(simulator):
    simulator.devices[HEATER].faults = [Fault("unauthorised")]
    with pytest.raises(ApiRefused):
        values(simulator, HEATER)


@pytest.mark.parametrize(
    "fault",
    [Fault("hang"), Fault("drip_headers", 0.1), Fault("drip_body", 0.1), Fault("latency", 60)],
)
def test_a_slow_device_costs_the_deadline_and_no_more(simulator, fault):
    simulator.devices[HEATER].faults = [fault]
    begin = time.monotonic()
    with pytest.raises(ApiError, match="within"):
        client(simulator, HEATER, timeout_seconds=0.3).read([simulator.devices[HEATER].id])
    # A tenth of a second for each byte would be longer.
    assert 0.25 < time.monotonic() - begin < 15
    assert values(simulator, CHARGER)["on"] is False


@pytest.mark.parametrize("kind", ["drip_headers", "drip_body"])
def test_a_dripped_answer_arrives_whole_in_the_end(simulator, kind):
    simulator.devices[HEATER].faults = [Fault(kind, 0)]
    assert values(simulator, HEATER)["on"] is False


def test_latency_holds_one_answer_back(simulator):
    simulator.devices[HEATER].faults = [Fault("latency", 0.1)]
    begin = time.monotonic()
    assert values(simulator, HEATER)["on"] is False
    assert time.monotonic() - begin >= 0.1


def test_latency_for_all_goes_together_with_a_fault():
    with Simulator(devices=1, latency=0.1) as simulator:
        simulator.devices[0].faults = [Fault("500")]
        begin = time.monotonic()
        with pytest.raises(ApiError):
            values(simulator, 0)
        assert time.monotonic() - begin >= 0.1


def test_a_lost_command_does_nothing(simulator):
    simulator.devices[HEATER].faults = [Fault("lost_command")]
    with pytest.raises(ApiError):
        switch(simulator, HEATER, True)
    assert simulator.devices[HEATER].counts() == {
        "requests": 2,
        "writes": 1,
        "effects": 0,
        "reverts": 0,
    }


def test_a_lost_answer_hides_what_was_done(simulator):
    simulator.devices[HEATER].faults = [Fault("lost_answer")]
    with pytest.raises(ApiError):
        switch(simulator, HEATER, True)
    assert simulator.devices[HEATER].on
    assert simulator.devices[HEATER].counts()["effects"] == 1


def test_a_liar_says_yes_and_does_nothing(simulator):
    simulator.devices[HEATER].faults = [Fault("lying")]
    switch(simulator, HEATER, True)
    assert not simulator.devices[HEATER].on
    assert values(simulator, HEATER)["on"] is False


def test_a_fault_for_orders_leaves_reading_alone(simulator):
    simulator.devices[HEATER].faults = [Fault("500", writes_only=True)]
    assert values(simulator, HEATER)["on"] is False
    with pytest.raises(ApiError):
        switch(simulator, HEATER, True)


def test_a_fault_heals_after_its_count(simulator):
    simulator.devices[HEATER].faults = [Fault("500", count=2)]
    for _ in range(2):
        with pytest.raises(ApiError):
            values(simulator, HEATER)
    assert values(simulator, HEATER)["on"] is False
    assert simulator.devices[HEATER].faults == []


def test_shares_of_devices_have_their_faults_apart():
    faults = [(Fault("hang"), 0.1), (Fault("drip_body"), 0.1), (Fault("latency"), 1.0)]
    kinds = [
        [fault.kind for fault in device.faults]
        for device in Simulator(devices=300, faults=faults).devices
    ]
    assert kinds.count(["hang", "latency"]) == kinds.count(["drip_body", "latency"]) == 30
    assert kinds.count(["latency"]) == 240


@pytest.mark.parametrize(
    ("text", "fault", "share"),
    [
        ("hang", Fault("hang"), 1),
        ("latency=0.3", Fault("latency", 0.3), 1),
        ("429=30:5%", Fault("429", 30), 0.05),
        ("drip_body:10", Fault("drip_body"), 0.1),
    ],
)
def test_a_fault_is_read_from_a_word(text, fault, share):
    assert Fault.parse(text) == (fault, share)


@pytest.mark.parametrize(
    "text", ["", "toaster", "latency=x", "latency=-1", "latency=nan", "hang:many"]
)
def test_a_word_that_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match="is no fault"):
        Fault.parse(text)


def test_faults_are_set_over_http(simulator):
    assert ask(simulator, "/0/fault", {"kind": "500", "count": 3}) == {
        "0": [{"kind": "500", "argument": None, "count": 3, "writes_only": False}]
    }
    ask(simulator, "/1/fault", [{"kind": "lying"}, {"kind": "latency", "argument": 0.01}])
    assert simulator.devices[1].faults == [Fault("lying"), Fault("latency", 0.01)]
    assert set(ask(simulator, "/fault")) == {"0", "1"}
    ask(simulator, "/fault", {"kind": "hang", "share": 0.4})
    assert sum(bool(device.faults) for device in simulator.devices) == 2
    assert ask(simulator, "/fault", []) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "toaster"},
        {"kind": "500", "count": 0},
        {"colour": 1},
        "x",
        {"kind": "500", "share": []},
    ],
)
def test_a_fault_that_does_not_exist_is_refused_over_http(simulator, body):
    with pytest.raises(ApiRefused, match="error"):
        ask(simulator, "/0/fault", body)
    assert simulator.devices[0].faults == []


def test_counts_are_read_over_http(simulator):
    switch(simulator, HEATER, True)
    values(simulator, CHARGER)
    assert ask(simulator, "/0/counts") == {"requests": 2, "writes": 1, "effects": 1, "reverts": 0}
    assert ask(simulator, "/counts") == {"requests": 3, "writes": 1, "effects": 1, "reverts": 0}


# Its HTTP

GET = b"GET /0/rpc/Shelly.GetStatus HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_connection_is_kept_and_answers_in_order(simulator):
    simulator.devices[0].faults = [Fault("latency", 0.05, count=1)]
    received = raw(
        simulator,
        GET + GET.replace(b"/0/", b"/1/") + b"GET /2/shelly HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    places = [received.index(simulator.devices[number].mac.encode()) for number in range(3)]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_request_may_arrive_in_pieces(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=30) as connection:
        for piece in (GET[:20], GET[20:-2], GET[-2:]):
            connection.sendall(piece)
            time.sleep(0.01)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")


def test_a_body_may_arrive_after_its_head(simulator):
    body = b'{"id":1,"method":"Switch.Set","params":{"id":0,"on":true}}'
    with socket.create_connection((simulator.host, simulator.port), timeout=30) as connection:
        connection.sendall(
            b"POST /0/rpc HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:9]
        )
        time.sleep(0.02)
        assert simulator.devices[0].requests == 0
        connection.sendall(body[9:])
        assert b'"was_on": false' in connection.recv(65_536)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"POST /0/rpc HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"POST /0/rpc HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /0/rpc HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 413),
        (b"GET /" + b"x" * 40_000, 431),
    ],
)
def test_a_request_that_is_none_ends_the_connection(simulator, data, status):
    received = raw(simulator, data)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in received


# Its life


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example"])  # noqa: S104 (refused)
def test_it_stays_off_the_network(host):
    with pytest.raises(ValueError, match="loopback|does not appear"):
        Simulator(host=host)


def test_it_speaks_ipv6_where_the_machine_does():
    try:
        with Simulator(devices=1, host="::1") as simulator:
            assert client(simulator, 0).identify().name == "Heater"
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")


def test_localhost_is_the_loopback_address():
    assert Simulator(host="localhost", port=8100).address(3) == "http://127.0.0.1:8100/3"


def test_a_port_that_is_taken_is_said_at_once(simulator):
    with pytest.raises(OSError, match="in use"):
        Simulator(port=simulator.port).start()


def test_it_stops_while_somebody_waits_for_an_answer():
    with Simulator(devices=1) as simulator:
        simulator.devices[0].faults = [Fault("hang")]
        connection = socket.create_connection((simulator.host, simulator.port), timeout=30)
        connection.sendall(GET)
        wait_until(lambda: simulator.devices[0].requests == 1)
    with connection:
        assert connection.recv(1) == b""


def test_stopping_what_never_started_is_no_error():
    Simulator().stop()


def test_neither_django_nor_models_are_needed():
    script = "import core.simulator, sys; "
    script += "sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True, timeout=120)


class Announced(io.StringIO):
    """Standard output that sends a signal to this process once a line was printed on it."""

    def __init__(self, kind: signal.Signals) -> None:
        super().__init__()
        self.kind = kind

    def flush(self) -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), self.kind)).start()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_ends_cleanly(kind):
    before = signal.getsignal(kind)
    output = Announced(kind)
    call_command("simulate_devices", devices=3, port=0, stdout=output)
    line = output.getvalue()
    assert line.startswith("3 devices at http://127.0.0.1:") and "/0 to http://127.0.0.1:" in line
    assert "manage.py add_gateway shelly http://127.0.0.1:" in line and line.count("\n") == 1
    assert signal.getsignal(kind) is before


def test_the_command_serves_the_kinds_that_are_asked_for():
    output = Announced(signal.SIGTERM)
    call_command("simulate_devices", kind=["strip", "lamp"], devices=2, port=0, stdout=output)
    assert output.getvalue().startswith("2 devices at ")
    with pytest.raises(CommandError, match="invalid choice: 'toaster'"):
        call_command("simulate_devices", "--kind=toaster")


def test_the_command_says_what_to_do_when_the_port_is_taken(simulator):
    with pytest.raises(CommandError, match=f"Port {simulator.port} of 127.0.0.1 is taken.*--port"):
        call_command("simulate_devices", port=simulator.port)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"devices": 0}, "between 1 and 10000"),
        ({"devices": 10_001}, "between 1 and 10000"),
        ({"host": "0.0.0.0"}, "loopback"),  # noqa: S104 (refused)
        ({"port": 99_999}, "cannot be used"),
        ({"fault": ["toaster"]}, "is no fault"),
    ],
)
def test_the_command_refuses_what_cannot_be(options, why):
    with pytest.raises(CommandError, match=why):
        call_command("simulate_devices", **options)
