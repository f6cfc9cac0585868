"""The page of feeds and their scores, and the API for those who are limited to some gateways."""

from datetime import UTC, datetime, timedelta

import pytest

from core import feeds
from core.models import FeedSource, Membership, Role, Series, User
from tests.core.tasks.homes import make_gateway
from tests.core.tasks.test_score_feeds import HALF_HOUR, foretell, measure, series_of

NOW = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def power(time_machine):
    """A forecast of 300 W where 200 W came, of the model of a device; and one of the grid."""
    time_machine.move_to(NOW, tick=False)
    for series in (series_of(), _power()):
        foretell(series, NOW - timedelta(hours=2), [300.0] * 48)
        measure(series, [200.0] * 4, start=NOW - timedelta(hours=2))
        foretell(series, NOW, [300.0] * 48)
    FeedSource.objects.update(fetched_at=NOW - HALF_HOUR)


def _power():
    source = FeedSource.objects.create(feed="usual_power", region="device:1.power")
    return Series.objects.create(source=source, signal="power", unit="W")


def person(client, gateway=None):
    user = User.objects.create(username="anna")
    membership = Membership.objects.create(user=user, role=Role.VIEWER, everywhere=gateway is None)
    if gateway:
        membership.gateways.add(gateway)
    client.force_login(user)


def test_it_shows_what_each_expects_and_how_right_it_was(client, power):
    person(client)
    page = client.get("/forecasts/").content.decode()
    assert "The usual power of a device" in page and "device:1.power" in page
    assert page.count('<th scope="row">1-3 h</th><td>100</td><td>100</td><td>2</td>') == 2
    assert "<b>300</b> W now" in page


def test_who_is_limited_to_gateways_sees_nothing_of_devices(client, power):
    person(client, make_gateway())
    page = client.get("/forecasts/").content.decode()
    assert "carbon_intensity_gb" in page and "usual_power" not in page
    for address in ("forecasts", "measurements"):
        told = client.get(f"/api/v1/{address}/").json()["results"]
        assert told and {one["signal"] for one in told} == {"carbon_intensity"}
    hidden = Series.objects.get(signal="power").forecasts.first()
    assert client.get(f"/api/v1/forecasts/{hidden.pk}/").status_code == 404


def test_a_log_in_is_needed(client, power, settings):
    settings.PUBLIC_STATUS = True
    assert client.get("/forecasts/")["Location"].startswith("/login/")


def test_a_feed_that_does_not_load_or_was_never_asked_says_so(client, power, monkeypatch):
    person(client)
    FeedSource.objects.create(feed="gone")
    monkeypatch.setattr(feeds, "names", lambda: ["carbon_intensity_gb", "usual_power"])
    assert "no feed &#x27;gone&#x27;" in client.get("/forecasts/").content.decode()


def test_without_feeds_it_says_what_to_do(client):
    person(client)
    assert "No feeds yet" in client.get("/forecasts/").content.decode()
