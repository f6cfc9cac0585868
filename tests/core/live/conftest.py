import pytest

from core.models import Role
from tests.core.live.changes import log_in
from tests.core.live.socket_client import AsgiServer


@pytest.fixture
def server(transactional_db, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 20
    with AsgiServer() as running:
        yield running


@pytest.fixture
def anna(transactional_db, client):
    """The cookie of somebody who may order."""
    return log_in(client, Role.OPERATOR)


@pytest.fixture
def web(started, database_url):
    return started(database_url, SOCKET_HEARTBEAT_SECONDS="1.5")
