"""What migrations set up that no model shows."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from core.models import Attribute, Observation, Silence
from tests.core.tasks.homes import make_device, make_gateway


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("table", ["core_attribute", "core_device", "core_gateway"])
def test_rows_that_every_poll_updates_have_room_in_their_page(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [table])
        assert cursor.fetchone() == (["fillfactor=50"],)


@pytest.mark.django_db
def test_silences_over_stored_values_are_cut_to_begin_after_them():
    power = make_device(make_gateway()).attributes.get(name="power")
    now, hour = timezone.now(), timedelta(hours=1)
    for hours in (1, 3, 20):
        Observation.objects.create(attribute=power, observed_at=now - hours * hour, number=1)
    Silence.objects.create(attribute=power, starts_at=now - 25 * 365 * 24 * hour, ends_at=now)
    Silence.objects.create(attribute=power, starts_at=now - 4 * hour, ends_at=now - 2 * hour)
    Silence.objects.create(attribute=power, starts_at=now - 20.1 * hour, ends_at=now - 19.9 * hour)
    Silence.objects.create(attribute=power, starts_at=now - 10 * hour, ends_at=now - 9 * hour)
    import_module("core.migrations.0014_right_clocks").cut_silences(apps, None)
    spans = Silence.objects.order_by("starts_at").values_list("starts_at", "ends_at")
    ages = [((now - start) / hour, (now - end) / hour) for start, end in spans]
    assert ages == [(10, 9), (3, 2), (1, 0)]


@pytest.mark.django_db
def test_hours_of_counters_are_made_anew_as_far_back_as_observations_are_kept():
    device = make_device(make_gateway())
    now, day = timezone.now(), timedelta(days=1)
    pruned = {"kept": None, "pruned": now - 5 * day, "temperature": None}
    for name, until in pruned.items():
        unit = "°C" if name == "temperature" else "Wh"
        values = {"kind": "number", "unit": unit, "rolled_until": now, "pruned_until": until}
        Attribute.objects.create(device=device, name=name, **values)
    import_module("core.migrations.0033_counted").sum_up_again(apps, None)
    rows = Attribute.objects.filter(name__in=pruned).values_list("name", "rolled_until")
    assert dict(rows) == {"kept": None, "pruned": now - 5 * day, "temperature": now}
    due = Attribute.objects.filter(roll_up_at__lt=now, name__in=pruned)
    assert set(due.values_list("name", flat=True)) == {"kept", "pruned"}
