"""docs/api.http and the README are true: a real server answers every request that they show."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from core.models import DeviceCommand
from tests.core.api.http_files import read

ROOT = Path(__file__).parents[3]
COLLECTION, README = ROOT / "docs" / "api.http", ROOT / "README.md"


def test_every_request_of_the_collection_is_answered(served):
    asked = read(
        COLLECTION,
        host=served.site,
        token=served.token,
        device=str(served.device.pk),
        gateway=str(served.gateway),
        wait="1",
    )
    for each in asked:
        with requests.request(
            each.method,
            each.url,
            headers=each.headers,
            data=each.body.encode() or None,
            stream=each.headers.get("Accept") == "text/event-stream",
            timeout=20,
        ) as response:
            assert response.status_code in (200, 201), f"{each.title}: {response.text}"
            if each.method == "POST" and "/commands/" in each.url:
                command = response.json()["id"]
    outcome = requests.get(
        f"{served.site}/api/v1/commands/{command}/?wait=10",
        headers={"Authorization": f"Bearer {served.token}"},
        timeout=20,
    )
    assert outcome.json()["state"] == "confirmed"
    assert served.simulated.on
    assert DeviceCommand.objects.count() == 1
    assert len(asked) > 10


def test_what_the_readme_shows_to_programs_works(served):
    """As it stands there, with another address and token; the stream is cut off."""
    [shown] = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    script = shown.replace("http://127.0.0.1:8000", served.site)
    script = re.sub(r"^TOKEN=.*$", f"TOKEN={served.token}", script, flags=re.MULTILINE)
    script = script.replace('"device": 1,', f'"device": {served.device.pk},')
    script = script.replace('"gateway": 2,', f'"gateway": {served.gateway},')
    script = script.replace("ask -N", "ask -N --max-time 1")
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 28, done.stderr  # the last is cut off after a second
    assert '"optimalDataPoints":[{' in done.stdout
    assert '"state":"confirmed"' in done.stdout
    assert '"stored":1' in done.stdout
    assert "retry: 2000" in done.stdout
    assert served.simulated.on


def test_bodies_are_json():
    for each in read(COLLECTION):
        if each.body:
            json.loads(each.body)
            assert each.headers["Content-Type"] == "application/json"
