"""A client that openapi-python-client generates from the served schema orders and reads back."""

import importlib
import subprocess
import sys
import uuid

import pytest

CONFIG = (
    "package_name_override: iotapp_client\nproject_name_override: iotapp-client\npost_hooks: []\n"
)


@pytest.fixture
def generated(served, tmp_path, monkeypatch):
    (tmp_path / "config.yml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--url", f"{served.site}/api/v1/schema/"),
            *("--config", str(tmp_path / "config.yml")),
            *("--output-path", str(tmp_path / "iotapp_client")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in done.stdout + done.stderr, done.stdout
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("iotapp_client")
    for name in [name for name in sys.modules if name.startswith("iotapp_client")]:
        del sys.modules[name]


def operation(folder, name):
    return importlib.import_module(f"iotapp_client.api.{folder}.{name}")


def test_it_orders_and_reads_back(served, generated):
    models = importlib.import_module("iotapp_client.models")
    client = generated.AuthenticatedClient(base_url=served.site, token=served.token)
    key = str(uuid.uuid4())
    body = models.OrderRequest(device=served.device.pk, attribute="on", value=True)
    with client:
        orders = operation("commands", "order")
        first = orders.sync(client=client, body=body, wait=10, idempotency_key=key)
        again = orders.sync(client=client, body=body, wait=10, idempotency_key=key)
        ledger = operation("commands", "read_command").sync(first.id, client=client, wait=10)
        device = operation("devices", "read_device").sync(served.device.pk, client=client)
    assert (first.state.value, again.id) == ("confirmed", first.id)
    assert [step.state for step in ledger.steps][-1] == "confirmed"
    assert {one.name: one.value for one in device.attributes}["on"] is True
    assert served.simulated.on
