import pytest

from tests.core.live.changes import log_in
from tests.core.live.socket_client import AsgiServer
from tests.core.live.web_server import Web


@pytest.fixture
def server(transactional_db, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 20
    with AsgiServer() as running:
        yield running


@pytest.fixture
def anna(transactional_db, client):
    """The cookie of somebody who may order."""
    return log_in(client, "add_devicecommand")


@pytest.fixture(scope="package")
def started():
    webs = []
    yield webs
    for web in webs:
        web.end()


@pytest.fixture
def web(started, database_url):
    """A gunicorn that all tests here share."""
    if not started:
        started.append(Web(database_url, SOCKET_HEARTBEAT_SECONDS="1.5"))
        started[0].start()
    return started[0]
