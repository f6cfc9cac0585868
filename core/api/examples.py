"""An example of what each operation that reads answers, for the schema.

They are made by core/serializers.py from a home that is stored nowhere, so they cannot differ from
what is answered. Shown is what an administrator sees.
"""

from datetime import UTC, datetime, timedelta

from core.api.resource import Json
from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    FeedSource,
    Forecast,
    Gateway,
    Measurement,
    Plan,
    Receipt,
    Run,
    Series,
    Site,
)
from core.models.device_command import State
from core.models.observation import Span
from core.models.run import Outcome
from core.readings import Kind, Source
from core.serializers import (
    attribute_json,
    command_ledger_json,
    device_json,
    device_rule_json,
    forecast_json,
    gateway_json,
    hold_json,
    measurement_json,
    observation_json,
    plan_json,
    receipt_json,
    rule_json,
    run_json,
    span_json,
)
from core.tasks.costs import DeviceCosts, Use
from core.tasks.explain import Explanation
from core.tasks.scorecard import Score, jobs_of

NOW = datetime(2026, 11, 26, 20, 4, 11, 523000, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHT = datetime(2026, 11, 27, 2, 30, tzinfo=UTC)
MORNING = datetime(2026, 11, 27, 7, tzinfo=UTC)


def read_examples() -> dict[str, list[Json]]:
    """Return the examples by `operationId`: one, or one for each form that an answer has."""
    pages = {
        "list_devices": _device(),
        "list_gateways": gateway_json(_gateway()),
        "list_attributes": _attribute(),
        "list_commands": command_ledger_json(_command()),
        "list_forecasts": forecast_json(_forecast()),
        "list_measurements": measurement_json(_measurement()),
        "list_decisions": receipt_json(_receipt()),
        "list_plans": plan_json(_plan()),
        "list_runs": run_json(_run()),
    }
    costs = _costs()
    single = {
        "read_device": pages["list_devices"],
        "read_gateway": pages["list_gateways"],
        "read_attribute": pages["list_attributes"],
        "read_command": pages["list_commands"],
        "read_forecast": pages["list_forecasts"],
        "read_plan": pages["list_plans"],
        "read_run": pages["list_runs"],
        "read_hold": {"hold": hold_json(_held(), NOW)},
        "read_device_rule": device_rule_json(_plug(), guard=False),
        "read_device_guard": device_rule_json(_plug(), guard=True),
        "explain_decision": Explanation(_receipt()).as_json(),
    }
    lists = {
        "list_rules": rule_json("below"),
        "read_scorecard": Score(_plug(), jobs_of([_plan()])).as_json(),
        "usage": {"day": "2026-11-26", "route": "GET devices/<int:pk>/", "requests": 412},
    }
    observations = [
        _page(observation_json(_power(), NOW - 10 * MINUTE, 20.5, None)),
        _page(
            span_json(
                _power(), Span(NIGHT, NIGHT + HOUR, 1024.5, 20.5, 2000.0, 0.98, observation_count=6)
            )
        ),
    ]
    return {
        **{name: [_page(row)] for name, row in pages.items()},
        **{name: [body] for name, body in single.items()},
        **{name: [{"results": [row]}] for name, row in lists.items()},
        "list_observations": observations,
        "list_costs": [_page(costs.as_json()) | {"total": costs.total.as_json()}],
    }


def _page(row: Json) -> Json:
    return {"results": [row], "next": None}


def _gateway() -> Gateway:
    gateway = Gateway(
        pk=1,
        vendor="shelly",
        name="Cellar",
        address="http://192.0.2.10",
        asked_at=NOW - MINUTE,
        answered_at=NOW - MINUTE,
    )
    gateway.heard_at, gateway.listening_since = NOW - MINUTE / 2, NOW - 3 * HOUR
    return gateway


def _plug() -> Device:
    return Device(
        pk=3,
        gateway=_gateway(),
        vendor_id="shellyplus-plug-08b61f",
        name="Water heater",
        model="Plus Plug S",
        place="Cellar",
        zone="Europe/London",
        rule="cleanest_hours",
        options={"minutes": 180, "before": "07:00", "watts": 2000},
        version=2,
        decision=_receipt_sentence(),
        decided_at=NOW - 2 * MINUTE,
        heard_at=NOW - MINUTE,
        measured_at=NOW - MINUTE,
    )


def _receipt_sentence() -> str:
    return "off: the cleanest 3 h before 07:00 begin at 02:30"


def _held() -> Device:
    held = _plug()
    held.held_at, held.held_until, held.hold_reason = NOW - HOUR, NOW + HOUR, "held by anna"
    return held


def _switch() -> Attribute:
    return Attribute(
        pk=5,
        device=_plug(),
        name="on",
        kind=Kind.BOOLEAN,
        writable=True,
        number=0.0,
        observed_at=NOW - MINUTE,
        heard_at=NOW - MINUTE,
    )


def _power() -> Attribute:
    return Attribute(
        pk=6,
        device=_plug(),
        name="power",
        kind=Kind.NUMBER,
        unit="W",
        number=20.5,
        observed_at=NOW - MINUTE,
        heard_at=NOW - MINUTE,
    )


def _attribute() -> Json:
    return {"device": 3, **attribute_json(_power(), NOW)}


def _device() -> Json:
    return device_json(_plug(), [_switch(), _power()], NOW, Site())


def _command() -> DeviceCommand:
    moments = [NOW, NOW + timedelta(seconds=0.2), NOW + timedelta(seconds=1.4)]
    steps = zip(moments, (State.SENDING, State.ACCEPTED, State.CONFIRMED), strict=True)
    return DeviceCommand(
        pk=41,
        attribute=_switch(),
        number=1.0,
        source=Source.HUMAN,
        user_id=1,
        reason="Ordered through the API by anna with night job (iot_...a1B2)",
        state=State.CONFIRMED,
        requested_at=NOW,
        expires_at=NOW + 5 * MINUTE,
        sent_at=moments[0],
        accepted_at=moments[1],
        finished_at=moments[2],
        steps=[[at.isoformat(), state, ""] for at, state in steps],
    )


def _series() -> Series:
    source = FeedSource(feed="carbon_intensity_gb", region="13")
    return Series(source=source, signal="carbon_intensity", unit="gCO2/kWh")


def _forecast() -> Forecast:
    begins = (NIGHT.timestamp(), NIGHT.timestamp() + 1800, NIGHT.timestamp() + 3600)
    return Forecast(
        pk=812,
        series=_series(),
        issued_at=NOW - 4 * MINUTE,
        known_at=NOW - 3 * MINUTE,
        ends_at=NIGHT + HOUR,
        slots=[[begins[0], begins[1], 94.0], [begins[1], begins[2], 91.0]],
    )


def _measurement() -> Measurement:
    return Measurement(
        pk=5120,
        series=_series(),
        starts_at=NIGHT,
        ends_at=NIGHT + 30 * MINUTE,
        value=97.0,
        known_at=NIGHT + 45 * MINUTE,
    )


def _receipt() -> Receipt:
    return Receipt(
        pk=77,
        device=_plug(),
        decided_at=NOW - HOUR,
        repeated_at=NOW - 2 * MINUTE,
        times=30,
        voice=Source.RULE,
        rule="cleanest_hours",
        version="5f2d1c9a7b3e",
        attribute="on",
        value=False,
        until=NIGHT,
        sentence=_receipt_sentence(),
        inputs={"zone": "Europe/London", "values": {"on": [False, "2026-11-26T20:03:11+00:00"]}},
        plan_id=9,
    )


def _plan() -> Plan:
    return Plan(
        pk=9,
        device=_plug(),
        rule="cleanest_hours",
        signal="carbon_intensity",
        region="carbon_intensity_gb:13",
        opens_at=NOW - HOUR,
        deadline=MORNING,
        job={"minutes": 180, "watts": 2000},
        windows=[[NIGHT.timestamp(), (NIGHT + 3 * HOUR).timestamp()]],
        unit="gCO2",
        made_at=NOW - HOUR,
        predicted=560.0,
        predicted_at_once=1080.0,
        delivered=180.0,
        settled_at=MORNING + HOUR,
        actual=571.0,
        at_once=1092.0,
        ideal=548.0,
    )


def _run() -> Run:
    return Run(
        pk=2048,
        task="poll",
        outcome=Outcome.DONE,
        started_at=NOW - MINUTE,
        finished_at=NOW - MINUTE + timedelta(seconds=2.4),
        counts={"gateways": 1, "devices": 1, "observations": 2},
    )


def _costs() -> DeviceCosts:
    use = Use(1.25, grams=187.5, grams_of=1.25, money={"GBP": 0.3125}, money_of=1.25)
    return DeviceCosts(
        _plug(), "energy", [(NOW.date(), use)], False, jobs_of([_plan()]), NOW.date()
    )
