"""A table over a real connection: sent as it is made."""

from datetime import UTC, datetime, timedelta

import pytest
import requests

from core.models import Observation
from tests.core.live.web_server import Web
from tests.core.tasks.homes import make_device, make_gateway

ROWS = 12_000


@pytest.fixture
def served(database_url):
    web = Web(database_url, PUBLIC_STATUS="1", DATABASE_POOL_SIZE="1")
    web.start()
    yield web
    web.end()


def test_a_table_is_sent_in_pieces_and_holds_no_connection_meanwhile(served):
    power = make_device(make_gateway()).attributes.get(name="power")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    Observation.objects.bulk_create(
        Observation(attribute=power, observed_at=start + timedelta(minutes=number), number=number)
        for number in range(ROWS)
    )
    address = f"{served.site}/api/v1/observations/?format=csv"
    with requests.get(address, stream=True, timeout=30) as response:
        pieces = response.iter_content(chunk_size=None)
        first = next(pieces)
        # There is one connection, and it is free.
        assert requests.get(f"{served.site}/api/v1/devices/", timeout=30).status_code == 200
        lines = (first + b"".join(pieces)).decode().splitlines()
    assert "Content-Length" not in response.headers
    assert len(lines) == ROWS + 1
    assert [line.rpartition(",")[2] for line in lines[1:]] == [
        str(number) for number in range(ROWS)
    ]
    assert "must consume" not in served.log()
