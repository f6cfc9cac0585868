"""A site with at least one row in each table that moves, and what two sites are compared by."""

from datetime import UTC, date, datetime, timedelta

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType

from core import models
from core.models.alert import AlertMessage
from core.models.device_command import State
from core.models.secret import Secret
from core.tasks.moving.tables import MOVED, model_of

NOW = datetime(2026, 3, 29, 0, 59, 59, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
CREDENTIAL = "pässword 1"


def make(model, **values):
    """Store a row as bulk imports do: no event is written."""
    return model._base_manager.bulk_create([model(**values)])[0]


def fill():
    """Store the site. Return its number of rows."""
    make(models.Site, id=1, name="Höhle", zone="Europe/Berlin", latitude=52.5, longitude=-0.0)
    anna, ben = (
        make(models.User, username=name, password=f"pbkdf2${name}") for name in ("anna", "ben")
    )
    group = make(Group, name="helpers")
    may = Permission.objects.get(codename="view_device")
    group.permissions.add(may)
    anna.groups.add(group)
    ben.user_permissions.add(may)
    kind = ContentType.objects.get_for_model(models.Device)
    make(LogEntry, user=anna, content_type=kind, object_id="1", object_repr="", action_flag=CHANGE)
    gateway = make(
        models.Gateway,
        vendor="shelly",
        name="Cellar",
        address="http://192.0.2.1",
        credential=Secret.seal(CREDENTIAL),
        wakes_every=timedelta(days=1, microseconds=1),
    )
    make(models.Gateway, vendor="shelly", name="Attic", address="http://192.0.2.2")
    device = make(models.Device, gateway=gateway, vendor_id="a", options={"b": [1, 2.5, None]})
    attribute = make(models.Attribute, device=device, name="on", kind="boolean", number=1.0)
    fill_access(anna, ben, gateway, device)
    fill_decisions(anna, gateway, device, attribute)
    fill_histories(attribute)
    return sum(model_of(label)._base_manager.count() for label in MOVED)


def fill_access(anna, ben, gateway, device):
    make(models.Membership, user=anna, role="operator", everywhere=False).gateways.add(gateway)
    make(models.Invitation, user=ben, invited_by="anna", invited_at=NOW)
    # The older one names the newer: no order of rows has each after what it names.
    new = models.Token(pk=8, user=anna, name="new", digest="b" * 64, ending="bbbb", lineage=7)
    old = models.Token(pk=7, user=anna, name="old", digest="a" * 64, ending="aaaa", rights=["read"])
    old.replaced_by_id, old.last_used_on = 8, date(2026, 2, 28)
    models.Token.objects.bulk_create([new, old])
    old.gateways.add(gateway)
    old.devices.add(device)
    make(models.Usage, token=old, day=date(2026, 2, 28), route="GET /", requests=2**40)


def fill_decisions(anna, gateway, device, attribute):
    command = make(
        models.DeviceCommand,
        attribute=attribute,
        number=1.0,
        source="person",
        user=anna,
        reason="by hand",
        state=State.CONFIRMED,
        requested_at=NOW,
        expires_at=LATER,
        finished_at=LATER,
        steps=[["2026", "confirmed", "a\nline"]],
        revert_after=timedelta(minutes=5),
    )
    make(models.SignedMessage, gateway=gateway, message_id="one")
    make(models.IdempotencyKey, owner="user 1", key="k", fingerprint="f" * 64, command=command)
    times = {"opens_at": NOW, "deadline": LATER, "made_at": NOW, "counted_until": NOW}
    plan = make(models.Plan, device=device, job={"minutes": 60}, windows=[[1.5, 2]], **times)
    texts = {"voice": "rule", "sentence": "Off: ½ price", "value": False}
    decided = {"decided_at": NOW, "repeated_at": LATER, "inputs": {"a": {"b": []}}}
    make(models.Receipt, device=device, plan=plan, command=command, **texts, **decided)
    make(models.Run, task="poll_devices", outcome="done", started_at=NOW, finished_at=LATER)
    seen = {"first_seen_at": NOW, "last_seen_at": NOW, "counted_at": NOW}
    alert = make(models.Alert, key="gateway 1", gateway=1, title="Cellar is away", **seen)
    make(AlertMessage, alert=alert, phase="opened", channel="c", channel_name="mail", due_at=NOW)


def fill_histories(attribute):
    source = make(models.FeedSource, feed="replay", history_version=3)
    series = make(models.Series, source=source, signal="carbon", unit="g")
    make(models.Forecast, series=series, issued_at=NOW, known_at=NOW, ends_at=LATER, slots=[[1, 2]])
    make(models.Measurement, series=series, starts_at=NOW, ends_at=LATER, value=0.1, known_at=NOW)
    make(models.Calibration, series=series, fitted_at=NOW, learnt={"weights": [0.1]})
    make(models.Silence, attribute=attribute, starts_at=NOW, ends_at=LATER)
    values = [0.1 + 0.2, -1.7e308, 5e-324, 0.0]
    rows = [
        models.Observation(attribute=attribute, observed_at=NOW + timedelta(seconds=at), number=one)
        for at, one in enumerate(values)
    ]
    text = models.Observation(
        attribute=attribute, observed_at=LATER, text="a\u2028b \U0001f600 \x7f"
    )
    models.Observation.objects.bulk_create([*rows, text])
    known = {"observation_count": 2, "known_microseconds": 2**40, "on_microseconds": 0}
    known |= {"counted_kwh": 0.1 + 0.2, "counted_before_kwh": 0.0}
    make(models.HourlyStatistics, attribute=attribute, starts_at=NOW, is_known_at_end=True, **known)


def content():
    """Return all rows of all tables that move, with what is secret shown."""
    return {label: rows(label) for label in MOVED}


def rows(label):
    model = model_of(label)
    columns = [field.attname for field in model._meta.concrete_fields]
    found = model._base_manager.order_by("pk").values_list(*columns)
    return [tuple(map(shown, row)) for row in found]


def shown(value):
    return value.reveal() if isinstance(value, Secret) else value
