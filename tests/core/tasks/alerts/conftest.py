import pytest

from tests.core.tasks.alerts.receivers import hook_server


@pytest.fixture
def hook(settings):
    """A webhook that ALERTS names; its path is a secret."""
    with hook_server() as found:
        settings.ALERTS = [f"{found.address}/services/Canary-4711"]
        yield found
