"""The client of the Web of Things against a local server, in both dialects.

The payloads are written after public documentation, not recorded: the lamps of
https://www.w3.org/TR/wot-thing-description11/ and of https://webthings.io/api/.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from core.net import transport
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import AttributeSpec, Kind
from core.vendors._thing_description import MOST_ASKED_SINGLY, place, thing
from core.vendors._thing_schema import unit_symbol
from core.vendors.web_of_things import Client
from tests.core.raw_server import Request, answer, serving

PAYLOADS = Path(__file__).parent / "payloads" / "web_of_things"
LOOPBACK = (ip_network("127.0.0.0/8"),)
W3C, MOZILLA = "urn:uuid:0804d572-cce8-422a-bb7c-4412fcd56f06", "urn:dev:ops:my-lamp-1234"
OTHER = "urn:other"
BASIC = f"Basic {b64encode(b'me:secret-word').decode()}"


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Server:
    """Answers with what stands in `at` for a path, and notes what it was asked."""

    def __init__(self) -> None:
        self.at: dict[str, Any] = {}
        self.asked: list[str] = []
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> bytes:
        self.requests.append(request)
        self.asked.append(f"{request.method} {request.target}")
        if request.method != "GET":
            return answer(b"", "204 No Content")
        if request.target not in self.at:
            return answer(b"no such page", "404 Not Found")
        found = self.at[request.target]
        return found if isinstance(found, bytes) else answer(json.dumps(found).encode())

    def header(self, name: str) -> list[str]:
        return [
            next((v for key, v in request.headers.items() if key.lower() == name.lower()), "")
            for request in self.requests
        ]


@pytest.fixture
def w3c() -> Server:
    server = Server()
    server.at = {
        "/.well-known/wot": payload("w3c_lamp"),
        "/lamp/properties/status": "off",
        "/lamp/properties/brightness%20level": 40,
        "/lamp/properties/temperature": 21.5,
        "/lamp/properties/meter": {"power": 7, "phases": [1]},
    }
    return server


@pytest.fixture
def mozilla() -> Server:
    server = Server()
    server.at = {"/": payload("mozilla_lamp"), "/properties": payload("mozilla_properties")}
    return server


@contextmanager
def connected(server: Server, path: str = "", **options: Any) -> Iterator[Client]:
    with serving(server) as raw:
        options = {"networks": LOOPBACK, "timeout_seconds": 30.0, **options}
        yield Client(Http(raw.address + path, **options))
        transport.close_idle_connections()


def told(server: Server, vendor_id: str, **options: Any) -> dict[str, Any]:
    with connected(server, **options) as client:
        return {reading.attribute: reading.value for reading in client.read([vendor_id])}


def specs(server: Server, **options: Any) -> dict[str, AttributeSpec]:
    with connected(server, **options) as client:
        (device,) = client.devices()
    return {spec.name: spec for spec in device.attributes}


KEY = {"credential": "me:secret-word"}


def test_a_w3c_thing_is_found_at_its_well_known_place(w3c):
    with connected(w3c, **KEY) as client:
        identity = client.identify()
    assert (identity.key, identity.name) == (W3C, "MyLampThing")
    assert w3c.asked == ["GET /", "GET /.well-known/wot"]


def test_forms_that_can_be_used_become_attributes(w3c):
    assert specs(w3c, **KEY) == {
        "status": AttributeSpec(
            "status", Kind.CHOICE, choices=("on", "off", "broken"), writable=True
        ),
        "brightness_level": AttributeSpec(
            "brightness_level", Kind.NUMBER, "%", 0, 100, writable=True, step=1
        ),
        "temperature": AttributeSpec("temperature", Kind.NUMBER, "°C"),
        "meter_power": AttributeSpec("meter_power", Kind.NUMBER, "W"),
    }


def test_properties_are_read_one_by_one_where_all_at_once_is_not_offered(w3c):
    assert told(w3c, W3C, **KEY) == {
        "status": "off",
        "brightness_level": 40,
        "temperature": 21.5,
        "meter_power": 7,
    }
    assert len(w3c.asked) == 6


def test_all_properties_are_read_at_once_where_a_form_offers_it(w3c):
    w3c.at["/.well-known/wot"]["forms"] = [{"op": "readallproperties", "href": "all"}]
    w3c.at["/lamp/all"] = {"status": "on", "temperature": 20, "meter": None}
    assert told(w3c, W3C, **KEY)["status"] == "on"
    assert w3c.asked[-1] == "GET /lamp/all" and len(w3c.asked) == 3


def test_a_property_that_is_gone_has_no_value(w3c):
    del w3c.at["/lamp/properties/temperature"]
    assert told(w3c, W3C, **KEY)["temperature"] is None


def test_a_w3c_property_is_written_bare(w3c):
    with connected(w3c, **KEY) as client:
        client.write(W3C, "brightness_level", 55.0)
    assert w3c.asked[-1] == "PUT /lamp/properties/brightness%20level"
    assert w3c.requests[-1].body == b"55"


def test_a_mozilla_thing_is_described_in_our_words(mozilla):
    assert specs(mozilla) == {
        "on": AttributeSpec("on", Kind.BOOLEAN, writable=True),
        "brightness": AttributeSpec("brightness", Kind.NUMBER, "%", 0, 100, writable=True, step=1),
    }


def test_a_mozilla_thing_is_read_in_one_call(mozilla):
    assert told(mozilla, MOZILLA) == {"on": True, "brightness": 50}
    assert mozilla.asked == ["GET /", "GET /properties"]


def test_a_mozilla_property_is_read_out_of_its_object(mozilla):
    mozilla.at["/"]["links"] = []
    mozilla.at |= {"/properties/lamp": {"lamp": False}, "/properties/dim": {"dim": 3}}
    assert told(mozilla, MOZILLA) == {"on": False, "brightness": 3}


def test_a_mozilla_property_is_written_within_an_object(mozilla):
    with connected(mozilla) as client:
        client.write(MOZILLA, "on", False)
    assert mozilla.asked[-1] == "PUT /properties/lamp"
    assert json.loads(mozilla.requests[-1].body) == {"lamp": False}


def test_each_thing_of_a_list_is_a_device(mozilla):
    other = {**payload("mozilla_lamp"), "id": "urn:other", "title": "Other"}
    mozilla.at["/"] = [mozilla.at["/"], other]
    with connected(mozilla) as client:
        assert [device.vendor_id for device in client.devices()] == [MOZILLA, "urn:other"]


def test_a_list_of_links_is_followed_on_its_own_host_only(mozilla):
    mozilla.at |= {"/lamp": mozilla.at["/"], "/": ["/lamp", "http://192.0.2.1/lamp", "/"]}
    with connected(mozilla) as client:
        assert [device.vendor_id for device in client.devices()] == [MOZILLA]
    assert mozilla.asked == ["GET /", "GET /lamp", "GET /"]


def test_the_address_may_be_that_of_the_description(mozilla):
    mozilla.at = {"/things/lamp": mozilla.at["/"], "/properties": {"lamp": True}}
    assert told(mozilla, MOZILLA, path="/things/lamp")["on"] is True


@pytest.mark.parametrize("value", [101.0, -1.0, 1.5, True])
def test_what_a_property_cannot_take_is_refused_before_it_is_sent(w3c, value):
    with connected(w3c, **KEY) as client, pytest.raises(ApiRefused):
        client.write(W3C, "brightness_level", value)
    assert not any(asked.startswith("PUT") for asked in w3c.asked)


def test_what_is_only_read_is_not_written(w3c):
    with connected(w3c, **KEY) as client, pytest.raises(ApiRefused, match="cannot be written"):
        client.write(W3C, "temperature", 3.0)


# The credential


def test_the_credential_goes_the_way_that_the_description_says(w3c):
    told(w3c, W3C, **KEY)
    assert w3c.header("Authorization")[:3] == ["", "", BASIC]


def test_a_thing_without_security_never_sees_the_credential(mozilla):
    told(mozilla, MOZILLA, credential="secret-word")
    assert mozilla.header("Authorization") == ["", ""]


@pytest.mark.parametrize(
    ("scheme", "name", "sent"),
    [
        ({"scheme": "bearer"}, "Authorization", "Bearer secret-word"),
        ({"scheme": "apikey", "in": "header", "name": "X-Key"}, "X-Key", "secret-word"),
    ],
)
def test_a_token_or_key_goes_into_its_header(mozilla, scheme, name, sent):
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": scheme}
    told(mozilla, MOZILLA, credential="secret-word")
    assert mozilla.header(name) == ["", sent]


def test_a_key_goes_into_the_query_where_that_is_wanted(mozilla):
    scheme = {"scheme": "apikey", "in": "query", "name": "key"}
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": scheme}
    mozilla.at["/properties?key=secret-word"] = mozilla.at["/properties"]
    assert told(mozilla, MOZILLA, credential="secret-word")["on"] is True


@pytest.mark.parametrize("scheme", ["psk", "combo", None, ["basic"], {"a": 1}])
def test_security_that_is_not_spoken_is_refused_by_name(mozilla, scheme):
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": {"scheme": scheme}}
    with connected(mozilla, **KEY) as client, pytest.raises(ApiRefused) as refusal:
        client.identify()
    assert repr(scheme) in str(refusal.value)


def test_a_thing_that_wants_a_credential_says_so(w3c):
    with connected(w3c) as client, pytest.raises(ApiRefused, match="wants a credential"):
        client.identify()


def test_an_access_token_of_oauth_is_sent_as_a_bearer(mozilla):
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": {"scheme": "oauth2"}}
    told(mozilla, MOZILLA, credential="secret-word")
    assert mozilla.header("Authorization") == ["", "Bearer secret-word"]


@pytest.mark.parametrize("credential", ["", "me:secret-word"])
def test_what_is_no_access_token_is_refused_where_oauth_is_wanted(mozilla, credential):
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": {"scheme": "oauth2"}}
    with (
        connected(mozilla, credential=credential) as client,
        pytest.raises(ApiRefused, match="wants an access token"),
    ):
        client.identify()
    assert mozilla.header("Authorization") == [""]


@pytest.mark.parametrize("way", ["Digest", "Basic"])
def test_a_description_behind_a_password_is_asked_for_in_the_way_it_wants(way):
    challenge = f'WWW-Authenticate: {way} realm="a", nonce="b", qop="auth"'
    server = Server()
    server.at["/"] = answer(b"", "401 Unauthorized", challenge)
    with connected(server, **KEY) as client, pytest.raises(ApiRefused, match="credential"):
        client.identify()
    sent = [header.partition(" ")[0] for header in server.header("Authorization")]
    assert sent == ["", "", way]


def test_a_digest_is_made_of_the_password_where_that_is_wanted(mozilla):
    mozilla.at["/"]["securityDefinitions"] = {"nosec_sc": {"scheme": "digest"}}
    values = mozilla.at["/properties"]
    challenge = 'WWW-Authenticate: Digest realm="a", nonce="b", qop="auth", algorithm=SHA-256'
    mozilla.at["/properties"] = answer(b"", "401 Unauthorized", challenge)

    class Challenging(Server):
        def __call__(self, request: Request) -> bytes:
            if any(value.startswith("Digest ") for value in request.headers.values()):
                self.at["/properties"] = values
            return super().__call__(request)

    server = Challenging()
    server.at = mozilla.at
    assert told(server, MOZILLA, **KEY)["on"] is True
    assert server.asked == ["GET /", "GET /properties", "GET /properties"]
    assert not any("secret-word" in header for header in server.header("Authorization"))


# Several things


@pytest.fixture
def two(mozilla) -> Server:
    """The lamp, and one that wants what the test says."""
    lamp = mozilla.at["/"]
    links = [{"rel": "properties", "href": "/other"}]
    definitions = {"nosec_sc": {"scheme": "psk"}}
    other = {**lamp, "id": OTHER, "title": "Other", "securityDefinitions": definitions}
    mozilla.at |= {"/": [lamp, {**other, "links": links}], "/other": {"lamp": True, "dim": 1}}
    return mozilla


def test_a_thing_that_wants_what_is_not_spoken_is_left_out_of_a_list(two, caplog):
    with connected(two) as client:
        assert client.identify().name == "My Lamp"
        assert [device.vendor_id for device in client.devices()] == [MOZILLA]
    assert "Other is left out: The thing wants 'psk'" in caplog.text


def test_a_thing_that_is_left_out_is_not_reached_and_the_others_are(two):
    with connected(two) as client:
        readings = list(client.read([MOZILLA, OTHER]))
    found = [(one.vendor_id, one.value, one.reachable) for one in readings]
    assert found == [
        (MOZILLA, True, True),
        (MOZILLA, 50, True),
        (OTHER, None, False),
        (OTHER, None, False),
    ]
    assert "GET /other" not in two.asked


def test_a_thing_that_is_left_out_takes_no_order(two):
    with connected(two) as client, pytest.raises(ApiRefused, match="psk"):
        client.write(OTHER, "on", True)
    assert not any(asked.startswith("PUT") for asked in two.asked)


def test_a_list_of_which_every_thing_is_left_out_is_refused(two):
    two.at["/"][0]["securityDefinitions"] = {"nosec_sc": {"scheme": "psk"}}
    for work in (Client.identify, lambda one: one.read([MOZILLA, OTHER]), Client.devices):
        with connected(two) as client, pytest.raises(ApiRefused, match="psk"):
            list(work(client))


def test_each_thing_of_a_list_gets_the_credential_in_its_own_way(two):
    two.at["/"][1]["securityDefinitions"] = {"nosec_sc": {"scheme": "bearer"}}
    assert told(two, OTHER, credential="secret-word")["on"] is True
    told(two, MOZILLA, credential="secret-word")
    assert two.asked == ["GET /", "GET /other", "GET /", "GET /properties"]
    assert two.header("Authorization") == ["", "Bearer secret-word", "", ""]


def test_a_thing_that_refuses_does_not_take_the_others_with_it(two):
    two.at["/"][1]["securityDefinitions"] = {}
    two.at["/properties"] = answer(b"", "403 Forbidden")
    with connected(two) as client:
        found = {one.vendor_id: one.reachable for one in client.read([MOZILLA, OTHER])}
    assert found == {MOZILLA: False, OTHER: True}


# What goes wrong


@pytest.mark.parametrize("found", [{}, [], "garbage", {"properties": 3}, answer(b"<html>")])
def test_an_address_without_a_thing_is_refused(found):
    server = Server()
    server.at["/"] = found
    with connected(server) as client, pytest.raises(ApiRefused, match="no Thing Description"):
        client.identify()


def test_a_thing_of_which_nothing_can_be_read_is_refused_and_says_where_it_leads(w3c):
    described = w3c.at["/.well-known/wot"]
    described["base"] = "http://192.0.2.1:8080/lamp"
    with connected(w3c, **KEY) as client, pytest.raises(ApiRefused) as refusal:
        client.identify()
    assert "No property of it can be read" in str(refusal.value)
    assert "lead to http://192.0.2.1:8080: if" in str(refusal.value)


def test_a_list_of_links_to_another_host_says_where_they_lead():
    server = Server()
    server.at["/"] = ["http://me:secret@[2001:db8::1]/lamp"]
    with connected(server) as client, pytest.raises(ApiRefused) as refusal:
        client.identify()
    assert str(refusal.value).endswith("lead to http://[2001:db8::1]: if that is right, enter it.")


def test_an_outage_is_not_a_refusal(mozilla):
    mozilla.at["/properties"] = answer(b"", "503 Service Unavailable")
    with connected(mozilla) as client, pytest.raises(ApiError):
        list(client.read([MOZILLA]))


def test_a_refused_credential_is_a_refusal(w3c):
    w3c.at["/lamp/properties/status"] = answer(b"", "401 Unauthorized")
    with connected(w3c, **KEY) as client, pytest.raises(ApiRefused, match="refused the credential"):
        list(client.read([W3C]))


def test_a_thing_that_is_not_there_yields_nothing(mozilla):
    assert told(mozilla, "urn:gone") == {}


# Descriptions


@pytest.mark.parametrize(
    "href",
    [
        "https://127.0.0.1/a",
        "http://127.0.0.1:81/a",
        "//192.0.2.1/a",
        "http://[/a",
        "/a{?b}",
        "mailto:a",
        "/a\x00",
        "/\ud800",
        3,
    ],
)
def test_links_that_lead_elsewhere_lead_nowhere(href):
    assert place(href, "http://127.0.0.1/", "http://127.0.0.1/") is None


def test_a_thing_of_thousands_of_properties_is_asked_for_some_of_them():
    one = {"type": "number", "forms": [{"href": "/p"}]}
    described = {"id": "a", "properties": {f"p{number}": one for number in range(5_000)}}
    assert len(thing(described, "http://127.0.0.1/").properties) == MOST_ASKED_SINGLY


@pytest.mark.parametrize(
    ("types", "model"),
    [("Thing", ""), (["Thing", "Light"], "Light"), (["Light"], "Light"), (3, "")],
)
def test_the_model_is_the_first_type_that_says_something(types, model):
    assert thing({"id": "a", "@type": types}, "http://127.0.0.1/").model == model


def test_names_that_look_alike_stay_apart():
    one = {"type": "number", "forms": [{"href": "/p"}]}
    described = {"id": "a", "properties": dict.fromkeys(("aB", "a b", "a-b", "é", "1"), one)}
    names = [prop.spec.name for prop in thing(described, "http://127.0.0.1/").properties]
    assert names == ["a_b", "a_b_2", "a_b_3", "property", "property_1"]


@pytest.mark.parametrize(
    ("unit", "symbol"),
    [
        ("degree celsius", "°C"),
        ("unit:DEG_C", "°C"),
        ("http://qudt.org/vocab/unit/KiloW-HR", "kWh"),
        ("watt", "W"),
        ("mW", "mW"),
        ("m/kelvin", "m/kelvin"),
        (None, ""),
    ],
)
def test_units_become_symbols(unit, symbol):
    assert unit_symbol(unit) == symbol
