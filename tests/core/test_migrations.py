"""What migrations set up that no model shows."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from core.models import Observation, Silence
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
