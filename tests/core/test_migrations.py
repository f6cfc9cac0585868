"""What migrations set up that no model shows."""

import pytest
from django.db import connection


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("table", ["core_attribute", "core_device", "core_gateway"])
def test_rows_that_every_poll_updates_have_room_in_their_page(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [table])
        assert cursor.fetchone() == (["fillfactor=50"],)
