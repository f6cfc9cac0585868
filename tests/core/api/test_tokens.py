"""Programs log in with tokens."""

from core.models import Role, Token
from core.models.token import new_text
from tests.core.api.conftest import Api, person


def test_a_token_reads(with_token, device):
    answer = with_token("read").get("/devices/")
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["results"]] == [device.pk]


def test_a_wrong_token_is_refused_though_the_pages_are_public(settings, device):
    settings.PUBLIC_STATUS = True
    for text in (new_text(), "iot_x", "", "é"):
        answer = Api(authorization=f"Bearer {text}").get("/devices/")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["detail"] == "The token is not valid: wrong, expired or revoked."


def test_a_token_sees_only_what_it_is_for(with_token, device, other):
    ours = with_token("read", devices=[device])
    assert [one["id"] for one in ours.get("/devices/").json()["results"]] == [device.pk]
    assert ours.get(f"/devices/{other.pk}/").status_code == 404


def test_a_token_to_send_readings_reads_nothing(with_token, device):
    assert with_token("ingest").get("/devices/").status_code == 403


def test_a_token_follows_its_person(with_token, gateway, device, other):
    lena = person("lena", Role.VIEWER, gateway)
    ours = with_token("read", user=lena)
    assert [one["id"] for one in ours.get("/devices/").json()["results"]] == [device.pk]
    Token.objects.update(revoked_at="2026-01-01T00:00Z")
    assert ours.get("/devices/").status_code == 401
