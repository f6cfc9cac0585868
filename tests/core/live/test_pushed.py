"""Readings pushed to a real server: the example of docs/push.md, and sockets that hear of it."""

import re
from pathlib import Path

import pytest
import requests
from django.conf import settings

from core.models import Right, User
from core.tasks import gateways, tokens

pytestmark = pytest.mark.django_db(transaction=True)


def push_of_the_page():
    """The function `push` of docs/push.md, as it stands there."""
    page = Path(settings.BASE_DIR, "docs", "push.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found = {}
    exec(code, found)  # noqa: S102 (what a reader of the page would run)
    return found["push"]


def test_the_example_of_the_page_is_stored_and_a_push_is_heard_of_at_once(web):
    gateway, secret = gateways.add_pushing("webhook", "Sensors", allow_new=True)
    reading = {"device": "cellar", "attribute": "temperature", "value": 11.5, "unit": "°C"}
    url = f"{web.site}/api/v1/gateways/{gateway.pk}/readings/"
    assert push_of_the_page()(url, secret, [reading])["stored"] == 1
    user = User.objects.create(username="olga", is_superuser=True)
    token = tokens.issue(user, "service", [Right.INGEST], gateways=[gateway]).text
    with web.open() as client:
        client.begin()
        answer = requests.post(
            f"{web.site}/api/v1/readings/",
            json={**reading, "value": 12},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        assert (answer.status_code, answer.json()["stored"]) == (200, 1)
        # An event of the first push may still be on its way.
        heard = []
        while 12 not in heard:
            readings = [event for event in client.events(1) if event["kind"] == "readings"]
            heard += [value for event in readings for value in event["body"]["values"].values()]
    assert heard.count(12) == 1
