import gzip
import hashlib
import io
import json
import logging
import re
import socket
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
import time_machine

from core.net import auth, transport
from core.net import http as http_module
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, basic, bearer, digest
from tests.core.raw_server import Answer, Request, answer, serving
from tests.waiting import wait_until

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    transport.close_idle_connections()


def always(what: Answer):
    return lambda request: what


def client(server, path: str = "", **options) -> Http:
    return Http(server.address + path, **{"networks": LOOPBACK, "timeout_seconds": 30.0, **options})


def get(what: Answer, **options):
    """What a GET makes of this answer."""
    with serving(always(what)) as server:
        return client(server, **options).get("/status")


def refusal_of(what: Answer, **options) -> ApiRefused:
    with pytest.raises(ApiRefused) as refused:
        get(what, **options)
    return refused.value


def error_of(what: Answer, **options) -> ApiError:
    with pytest.raises(ApiError) as failed:
        get(what, **options)
    return failed.value


# Calls


def test_a_get_returns_the_json():
    assert get(answer(b'{"power": 12.5, "on": true}')) == {"power": 12.5, "on": True}


def test_the_path_is_joined_to_the_path_of_the_address_and_params_are_its_query():
    with serving(always(answer())) as server:
        client(server, "/hub/").get("/rpc/Switch.Set", {"id": 0, "name": "a b&c"})
    assert server.requests[0].target == "/hub/rpc/Switch.Set?id=0&name=a+b%26c"


def test_what_a_path_cannot_hold_is_quoted():
    with serving(always(answer())) as server:
        client(server).get("/Küche 1\r\nX: y")
    assert server.requests[0].target == "/K%C3%BCche%201%0D%0AX:%20y"


def test_a_query_in_the_path_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="params"):
        Http("http://example.org").get("/status?id=1")


def test_a_post_sends_json():
    with serving(always(answer(b"[1]"))) as server:
        assert client(server).post("/set", {"on": True}) == [1]
    assert json.loads(server.requests[0].body) == {"on": True}
    assert server.requests[0].headers["content-type"] == "application/json"


def test_a_post_without_a_body_sends_none():
    with serving(always(answer())) as server:
        client(server).post("/toggle")
    assert server.requests[0].headers["content-length"] == "0"


def test_an_empty_answer_to_a_post_is_none():
    with serving(always(answer(b"", "204 No Content"))) as server:
        assert client(server).post("/set", {}) is None


def test_an_empty_answer_to_a_get_is_an_error():
    assert "answered nothing" in str(error_of(answer(b"")))


def test_fetch_returns_the_bytes():
    with serving(always(answer(b"<on/>"))) as server:
        http = client(server)
        assert http.fetch("PUT", "/xml", body=b"<set/>", content_type="text/xml") == b"<on/>"
    assert (server.requests[0].method, server.requests[0].body) == ("PUT", b"<set/>")
    assert server.requests[0].headers["content-type"] == "text/xml"


def test_calls_of_one_client_share_a_connection():
    with serving(always(answer())) as server:
        http = client(server)
        for _ in range(5):
            http.get("/")
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize(("host", "connections"), [("localhost", 2), ("127.0.0.1", 1)])
def test_no_client_uses_the_connection_of_another_to_a_name(host, connections):
    """The name may lead elsewhere by now."""
    with serving(always(answer())) as server:
        for _ in range(2):
            Http(f"http://{host}:{server.port}", networks=LOOPBACK).get("/")
    assert server.connections == connections


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_changes_something_is_sent_once_whatever_comes_of_it(method):
    with serving(always(None)) as server, pytest.raises(ApiError):
        getattr(client(server), method.lower())("/set", {"on": True})
    assert [request.method for request in server.requests] == [method]


def test_a_put_sends_json():
    with serving(always(answer(b"[1]"))) as server:
        assert client(server).put("/lights/1", {"on": True}) == [1]
    assert (server.requests[0].method, server.requests[0].body) == ("PUT", b'{"on": true}')


def test_a_form_is_sent_as_a_form_and_its_secrets_stay_out_of_messages():
    secret = "r3fresh&token/1"
    with (
        serving(lambda request: answer(request.body, "400 Bad Request")) as server,
        pytest.raises(ApiRefused) as refused,
    ):
        http = client(server, credential=secret)
        http.post_form("/token", {"grant_type": "refresh_token", "refresh_token": secret})
    sent = server.requests[0]
    assert sent.body == b"grant_type=refresh_token&refresh_token=r3fresh%26token%2F1"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "r3fresh" not in str(refused.value)


def test_a_connection_idle_for_long_is_not_used_again(monkeypatch):
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.0)
    with serving(always(answer())) as server:
        client(server).get("/")
        client(server).get("/")
    assert server.connections == 2


def test_the_connections_of_a_thread_close_with_it():
    with serving(always(answer())) as server:
        thread = threading.Thread(target=lambda: client(server).get("/"))
        thread.start()
        thread.join()
    # A socket left open would be a ResourceWarning, which is an error here.
    assert server.connections == 1


def test_chunked_answers_are_read():
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    assert get(body) == [1, 2]


def test_an_answer_that_ends_with_its_connection_is_read():
    assert get(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1]") == [1]


def test_compressed_answers_are_read():
    assert get(answer(gzip.compress(b'{"a": 1}'), "200 OK", "Content-Encoding: gzip")) == {"a": 1}


def test_what_cannot_be_decompressed_is_an_error():
    assert "decompressed" in str(error_of(answer(b"not gzip", "200 OK", "Content-Encoding: gzip")))


# Deadline


def drip(pieces, seconds=0.2):
    for piece in pieces:
        yield piece
        time.sleep(seconds)


def endless_headers():
    yield b"HTTP/1.1 200 OK\r\n"
    yield from drip(f"X-{number}: y\r\n".encode() for number in range(60))


def endless_body():
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"
    yield from drip([b" "] * 60)


def silence():
    yield from drip([b""] * 60)


def endless_continue():
    yield from drip([b"HTTP/1.1 100 Continue\r\n\r\n"] * 60)


LASTS_SECONDS = 11
"""What each of them takes, and a second less: nothing else than the deadline ends it sooner."""
SLOW = [endless_headers, endless_body, silence, endless_continue]


@pytest.mark.parametrize("slow", SLOW)
def test_the_deadline_holds_however_slowly_they_answer(slow):
    with serving(lambda request: slow()) as server:
        started_at = time.monotonic()
        with pytest.raises(ApiError) as failed:
            client(server, timeout_seconds=0.4).get("/")
        assert 0.35 < time.monotonic() - started_at < LASTS_SECONDS
        wait_until(lambda: server.requests)
    assert str(failed.value) == f"{server.address} did not answer within 0.4 s."
    assert len(server.requests) == 1


@pytest.mark.parametrize("slow", [endless_headers, endless_body])
def test_the_deadline_holds_over_tls(slow, tls):
    with serving(lambda request: slow(), tls) as server:
        started_at = time.monotonic()
        with pytest.raises(ApiError, match="did not answer within"):
            client(server, timeout_seconds=0.4).get("/")
        assert time.monotonic() - started_at < LASTS_SECONDS


def test_the_deadline_holds_when_tls_never_begins():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        http = Http(
            f"https://127.0.0.1:{listening.getsockname()[1]}",
            networks=LOOPBACK,
            timeout_seconds=0.3,
        )
        with pytest.raises(ApiError, match="did not answer within"):
            http.get("/")


def test_the_deadline_holds_when_nobody_takes_what_we_send():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        http = Http(
            f"http://127.0.0.1:{listening.getsockname()[1]}", networks=LOOPBACK, timeout_seconds=0.3
        )
        with pytest.raises(ApiError, match="did not answer within"):
            http.fetch("POST", "/", body=bytes(20_000_000))


@pytest.fixture
def let_pass(monkeypatch):
    """Puts the clock forward: `let_pass(seconds)`."""
    passed = []
    for module in (http_module, transport):
        monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + sum(passed))
    return passed.append


def test_the_deadline_holds_for_all_calls_together(let_pass):
    answers = iter([answer(), silence()])
    with serving(lambda request: next(answers)) as server:
        http = client(server, timeout_seconds=60)
        http.get("/")
        let_pass(59.5)
        started_at = time.monotonic()
        with pytest.raises(ApiError, match="did not answer within"):
            http.get("/")
        assert time.monotonic() - started_at < LASTS_SECONDS


def test_the_deadline_begins_with_the_first_call(let_pass):
    with serving(always(answer())) as server:
        http = client(server, timeout_seconds=60)
        let_pass(100)
        assert http.get("/") == {}


# Size


def test_a_gzip_bomb_stops_at_the_limit():
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        error = error_of(answer(bomb, "200 OK", "Content-Encoding: gzip"), max_bytes=100_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "more than 100,000 bytes" in str(error)
    assert peak < 5_000_000


def test_a_huge_answer_stops_at_the_limit():
    assert "more than 1,000 bytes" in str(error_of(answer(b" " * 2_000_000), max_bytes=1_000))


def test_an_answer_as_large_as_the_limit_is_read():
    assert get(answer(b"[" + b" " * 998 + b"]"), max_bytes=1_000) == []


def test_an_answer_without_end_stops_at_the_limit():
    def forever():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b" " * 65_536

    assert "more than" in str(error_of(forever(), max_bytes=1_000_000))


def test_after_an_answer_too_large_the_next_call_works():
    answers = iter([answer(b" " * 2_000_000), answer(b"1")])
    with serving(lambda request: next(answers)) as server:
        with pytest.raises(ApiError):
            client(server, max_bytes=1_000).get("/")
        assert client(server).get("/") == 1


# Statuses


def test_a_redirect_is_not_followed_and_says_where_to():
    with serving(always(answer())) as other:
        target = f"{other.address}/new?token=geheim"
        refused = refusal_of(answer(b"", "302 Found", f"Location: {target}"))
    assert f"redirects to {other.address}/new:" in str(refused)
    assert "geheim" not in str(refused)
    assert (refused.status, other.requests) == (302, [])


def test_cookies_are_not_sent_back():
    with serving(always(answer(b"1", "200 OK", "Set-Cookie: session=abc; Path=/"))) as server:
        http = client(server)
        http.get("/")
        http.get("/")
    assert all("cookie" not in request.headers for request in server.requests)


def test_nothing_is_read_from_the_environment(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login admin password geheim")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(always(answer(b"1"))) as server:
        assert client(server).get("/") == 1
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 418, 422])
def test_what_a_person_must_look_at_is_refused(status):
    refused = refusal_of(answer(b"no such thing", f"{status} X"))
    assert refused.status == status
    assert str(status) in str(refused)
    assert "no such thing" in str(refused)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_an_error(status):
    error = error_of(answer(b"busy", f"{status} X"))
    assert (error.status, error.retry_after) == (status, None)
    assert f"answered {status}" in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999999999999", 86_400),
        ("Sun, 06 Nov 2033 08:50:37 GMT", 60),
        ("Sun, 06 Nov 2033 08:50:37 -0000", 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Fri, 31 Dec 9999 23:59:59 -9999", None),
        ("-5", None),
        ("1e3", None),
        ("١٢", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(header, seconds):
    field = f"Retry-After: {header}".encode().decode("latin-1")
    with time_machine.travel(datetime(2033, 11, 6, 8, 49, 37, tzinfo=UTC), tick=False):
        error = error_of(answer(b"", "429 X", field))
    assert error.retry_after == seconds


def test_a_call_is_never_repeated_because_of_retry_after():
    with serving(always(answer(b"", "503 X", "Retry-After: 0"))) as server, pytest.raises(ApiError):
        client(server).get("/")
    assert len(server.requests) == 1


def test_a_message_is_one_printable_line():
    assert "“a b \ufffd c”" in str(refusal_of(answer(b"a\x00\x1b\n\tb \xff \xc2\x9b c", "404 X")))


def test_a_message_quotes_the_beginning_only():
    assert len(str(refusal_of(answer(b"x" * 1_000_000, "404 X")))) < 200


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"1e999", b"[-1e999]",
        b"1" * 5_000, b"1" * 400, b'"\xff"', b"\xff\xfe1\x00", b'{"a": 1', b"{'a': 1}", b"[1] [2]",
        b"[" * 200_000, b'{"a":' * 200_000, b"[" * 60 + b"]" * 60, b'{"a":[' * 60 + b"]}" * 60,
        b'"a\x00b"', b"1" + b"0" * 310 + b".5", b" ",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)  # fmt: skip
def test_what_is_not_strictly_json_is_an_error(body):
    assert "answered something that is not JSON: “" in str(error_of(answer(body)))


def test_deep_json_is_an_error_in_a_thread_too():
    errors = []
    thread = threading.Thread(
        target=lambda: errors.append(error_of(answer(b"[" * 500_000 + b"]" * 500_000)))
    )
    thread.start()
    thread.join()
    assert "not JSON" in str(errors[0])


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"a\u0000b"', "a\ufffdb"),
        (rb'{"\u0000": ["\u0000\u0000"]}', {"\ufffd": ["\ufffd\ufffd"]}),
        (rb'"a\\u0000b"', r"a\u0000b"),
        (rb'"a\\\u0000b"', "a\\\ufffdb"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\uDE00\uD83D!"', "\ufffd\ufffd!"),
        (rb'"\u00e9\n\u0000"', "é\n\ufffd"),
    ],
)
def test_characters_that_no_database_stores_are_replaced(body, value):
    assert get(answer(body)) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b"null", None),
        (b"1.5e3", 1500.0),
        (b"12345678901234567890", 12345678901234567890),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
        (b"[" + b'{"a":[]},' * 500 + b"1]", [{"a": []}] * 500 + [1]),
        (b"[" * 40 + b"]" * 40, json.loads("[" * 40 + "]" * 40)),
    ],
)
def test_what_is_json_is_read(body, value):
    assert get(answer(body)) == value


# Connections that break


def test_a_get_is_tried_again_when_the_connection_breaks():
    answers = iter([None, None, answer(b"1")])
    with serving(lambda request: next(answers)) as server:
        assert client(server).get("/") == 1
    assert server.connections == 3


def test_a_get_is_tried_again_when_the_answer_breaks_off():
    answers = iter([iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1"]), answer(b"1")])
    with serving(lambda request: next(answers)) as server:
        assert client(server).get("/") == 1


def test_a_get_is_tried_three_times_at_most():
    with serving(always(None)) as server, pytest.raises(ApiError, match="broke off the connection"):
        client(server).get("/")
    assert len(server.requests) == 3


def test_a_post_is_never_tried_again():
    with serving(always(None)) as server, pytest.raises(ApiError, match="broke off the connection"):
        client(server).post("/set", {"on": True})
    assert len(server.requests) == 1


def test_a_kept_connection_that_was_closed_meanwhile_does_not_cost_a_get():
    # An iterable is sent, then the connection closed without saying so.
    with serving(lambda request: iter([answer(b"1")])) as server:
        assert [client(server).get("/") for _ in range(3)] == [1, 1, 1]


def test_nobody_listening_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(ApiError, match="refused the connection"):
        Http(address, networks=LOOPBACK).get("/")


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc X\r\n\r\n",
        OK + b"X: " + b"y" * 70_000,
        OK + b"X: y\r\n" * 500 + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Content-Length: 5, 6\r\n\r\n[]",
    ],
    ids=["tls", "ssh", "status", "long header", "many headers", "chunk", "length"],
)
def test_what_is_not_http_is_an_error(garbage):
    with serving(lambda request: iter([garbage])) as server, pytest.raises(ApiError):
        client(server).get("/")


def test_a_name_that_does_not_resolve_is_an_error():
    with pytest.raises(ApiError, match="cannot be looked up"):
        Http("http://no-such-host.invalid").get("/")


# TLS


def test_a_home_can_have_its_own_authority(tls):
    with serving(always(answer(b"1")), tls) as server:
        assert client(server).get("/") == 1


def test_a_certificate_nobody_vouches_for_is_refused(untrusted_tls):
    transport._tls_context.cache_clear()
    with (
        serving(always(answer(b"1")), untrusted_tls) as server,
        pytest.raises(ApiRefused, match="is not trusted"),
    ):
        client(server).get("/")
    assert server.requests == []


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_authorities_that_is_none_is_named(untrusted_tls, content, monkeypatch, tmp_path):
    own = tmp_path / "own.pem"
    if content is not None:
        own.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    transport._tls_context.cache_clear()
    with serving(always(answer(b"1")), untrusted_tls) as server:
        with pytest.raises(ApiRefused, match=f"SSL_CERT_FILE={own} cannot be read"):
            client(server).get("/")
        assert server.requests == []
    monkeypatch.delenv("SSL_CERT_FILE")
    transport._tls_context.cache_clear()


def test_https_to_a_port_that_speaks_http_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply():
            stream, _ = listening.accept()
            with stream:
                stream.recv(4_096)
                stream.sendall(answer(b"", "400 Bad Request"))

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ApiError, match="http rather than https"):
            Http(f"https://127.0.0.1:{listening.getsockname()[1]}", networks=LOOPBACK).get("/")
        thread.join()


# Addresses


def resolving(monkeypatch, *addresses: str):
    def entry(address: str, port: int):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return (family, socket.SOCK_STREAM, 6, "", (address, port))

    def getaddrinfo(host, port, *arguments, **options):
        return [entry(address, port) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_private_address_needs_to_be_granted():
    with pytest.raises(
        ApiRefused, match="127.0.0.1 is this machine itself: set GATEWAY_NETWORKS=loopback"
    ):
        Http("http://127.0.0.1:1").get("/")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost"]
)
def test_a_private_address_is_known_however_it_is_written(host):
    with pytest.raises(ApiRefused, match="GATEWAY_NETWORKS=loopback"):
        Http(f"http://{host}:1").get("/")


def test_a_name_that_leads_to_a_forbidden_address_is_refused(monkeypatch):
    resolving(monkeypatch, "169.254.169.254")
    with pytest.raises(ApiRefused, match="169.254.169.254 is never connected to"):
        Http("http://hub.example.org", networks=LOOPBACK).get("/")


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    with serving(always(answer(b"1"))) as server:
        resolving(monkeypatch, "10.0.0.1", "127.0.0.1")
        assert Http(f"http://hub.example.org:{server.port}", networks=LOOPBACK).get("/") == 1
    assert server.requests[0].headers["host"] == f"hub.example.org:{server.port}"


def test_a_dead_address_leaves_time_for_the_next(monkeypatch):
    with serving(always(answer(b"1"))) as server:
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")  # nobody listens on the first
        assert Http(f"http://hub.example.org:{server.port}", networks=LOOPBACK).get("/") == 1


def test_a_connection_made_under_wider_networks_is_not_used_under_stricter_ones():
    with serving(always(answer(b"1"))) as server:
        client(server).get("/")
        with pytest.raises(ApiRefused):
            client(server, networks=()).get("/")
    assert len(server.requests) == 1


def test_a_post_that_our_rules_refuse_is_not_sent():
    with serving(always(answer(b"1"))) as server, pytest.raises(ApiRefused):
        client(server, networks=()).post("/set")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("192.168.1.20", "looks like"),
        ("", "looks like"),
        ("ftp://example.org", "http or https"),
        ("file:///etc/passwd", "http or https"),
        ("http://", "http or https"),
        ("http://exa mple.org", "http or https"),
        ("http://example.org:99999", "no address"),
        ("http://example.org:0", "http or https"),
        ("http://example.org:port", "no address"),
        ("http://[::1", "no address"),
        ("http://[fe80::1%25eth0]", "http or https"),
        ("http://a..b", "no address"),
        ("http://" + "a" * 64 + ".org", "no address"),
        ("http://example.org\\@evil.org", "looks like"),
        ("http://user:password@example.org", "enter these as the credential"),
        ("http://example.org/?key=1", "query"),
        ("http://example.org/#x", "fragment"),
        ("http://0000127.0.0.1", "octal"),
        ("http://0177.0.0.1", "octal"),
        ("http://127.0.0.010:8123/path", "octal"),
        ("http://0x7f.01", "octal"),
    ],
)
def test_a_bad_address_says_what_to_do(address, message):
    with pytest.raises(ApiRefused, match=message):
        Http(address)


@pytest.mark.parametrize(
    ("entered", "address"),
    [
        ("http://192.168.1.20/", "http://192.168.1.20"),
        (" https://Example.ORG:8123/a b/ ", "https://example.org:8123/a%20b"),
        ("HTTP://hub.local", "http://hub.local"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://[2001:DB8::1]:80", "http://[2001:db8::1]:80"),
        ("http://my_hub", "http://my_hub"),
    ],
)
def test_an_address_is_kept_in_one_form(entered, address):
    assert Http(entered).address == address


def test_ipv6_works():
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening:
        http = Http(
            f"http://[::1]:{listening.getsockname()[1]}", networks=LOOPBACK, timeout_seconds=0.2
        )
        with pytest.raises(ApiError, match="did not answer"):
            http.get("/")


# Credentials


def test_basic_and_bearer_go_with_every_call():
    with serving(always(answer())) as server:
        http = client(server)
        http.auth = basic("Aladdin", "open sesame")
        http.get("/")
        http.auth = bearer(" abc.def\n")
        http.post("/")
    assert [request.headers["authorization"] for request in server.requests] == [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer abc.def",
    ]


def test_the_auth_of_one_gateway_does_not_reach_another():
    with serving(always(answer())) as server:
        first = client(server)
        first.auth = bearer("abc")
        first.get("/")
        client(server).get("/")
    assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("token", ["a\nb", "ключ", "a\x00b"])
def test_a_credential_that_cannot_be_sent_is_refused_without_being_shown(token):
    http = Http("http://example.org")
    http.auth = bearer(token)
    with pytest.raises(ApiRefused, match="enter it again") as refused:
        http.get("/")
    assert token not in str(refused.value)


class DigestServer:
    """Checks each response as RFC 7616, section 3.4.1, says."""

    def __init__(
        self, algorithm: str = "SHA-256", qop: str = 'qop="auth", ', also: str = ""
    ) -> None:
        self.hash = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[algorithm.removesuffix("-sess")]
        self.algorithm, self.qop, self.also = algorithm, qop, also
        self.nonce, self.counts = "nonce1", []

    def __call__(self, request: Request) -> bytes:
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "")))
        is_known = fields.get("nonce") == self.nonce
        if is_known and fields["response"] == self.expected(request, fields):
            self.counts.append(fields.get("nc"))
            echo = {"method": request.method, "body": request.body.decode()}
            return answer(json.dumps(echo).encode())
        challenge = (
            f'Digest {self.qop}realm="shelly-a8", nonce="{self.nonce}", algorithm={self.algorithm}'
        )
        return answer(
            b"who?" * 50,
            "401 Unauthorized",
            f"WWW-Authenticate: {challenge}",
            "Set-Cookie: a=b",
            *self.also,
        )

    def expected(self, request: Request, fields: dict[str, str]) -> str:
        def hashed(text: str) -> str:
            return self.hash(text.encode()).hexdigest()

        secret = hashed(f"admin:shelly-a8:{PASSWORD}")
        if self.algorithm.endswith("-sess"):
            secret = hashed(f"{secret}:{fields['nonce']}:{fields['cnonce']}")
        between = f"{fields['nc']}:{fields['cnonce']}:auth:" if self.qop else ""
        assert fields["uri"] == request.target
        call = hashed(f"{request.method}:{request.target}")
        return hashed(f"{secret}:{self.nonce}:{between}{call}")


def digest_client(server, password: str = PASSWORD, **options) -> Http:
    http = client(server, credential=password, **options)
    http.auth = digest("admin", password)
    return http


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("qop", ['qop="auth", ', 'qop="auth,auth-int", ', ""])
def test_digest_is_answered(algorithm, qop):
    with serving(DigestServer(algorithm, qop)) as server:
        assert digest_client(server).get("/rpc", {"id": 0})["method"] == "GET"


def test_digest_sends_back_what_is_opaque_and_escapes_what_is_quoted():
    challenge = r'WWW-Authenticate: Digest realm="a \"b\"", nonce="n", opaque="xyz", qop="auth"'
    with serving(always(answer(b"", "401 X", challenge))) as server, pytest.raises(ApiRefused):
        digest_client(server).get("/")
    sent = server.requests[-1].headers["authorization"]
    assert r'realm="a \"b\""' in sent
    assert 'opaque="xyz"' in sent
    assert "algorithm" not in sent


def test_digest_knows_sessions():
    with serving(DigestServer("MD5-sess")) as server:
        assert digest_client(server).get("/rpc")["method"] == "GET"


def test_digest_sends_the_body_of_a_post_again_on_the_same_connection():
    with serving(DigestServer()) as server:
        assert digest_client(server).post("/rpc", {"on": True}) == {
            "method": "POST",
            "body": '{"on": true}',
        }
    assert [request.body for request in server.requests] == [b'{"on": true}'] * 2
    assert server.connections == 1
    assert all("cookie" not in request.headers for request in server.requests)


def test_digest_asks_only_once_for_a_nonce():
    device = DigestServer()
    with serving(device) as server:
        http = digest_client(server)
        for _ in range(3):
            http.get("/rpc")
        device.nonce = "nonce2"
        http.get("/rpc")
    assert device.counts == ["00000001", "00000002", "00000003", "00000001"]
    assert len(server.requests) == 6


def test_digest_takes_the_strongest_that_is_offered():
    weaker = 'WWW-Authenticate: Digest realm="shelly-a8", nonce="nonce1", algorithm=MD5, qop="auth"'
    basic_too = 'WWW-Authenticate: Basic realm="shelly-a8"'
    with serving(DigestServer(also=(basic_too, weaker))) as server:
        assert digest_client(server).get("/rpc")["method"] == "GET"
    assert "algorithm=SHA-256" in server.requests[-1].headers["authorization"]


def test_a_wrong_password_is_refused_after_one_attempt():
    with (
        serving(DigestServer()) as server,
        pytest.raises(ApiRefused, match="refused the credential") as refused,
    ):
        digest_client(server, "wrong horse").get("/rpc")
    assert (refused.value.status, len(server.requests)) == (401, 2)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Digest",
        "Basic realm=x",
        'Digest realm="a", nonce="b", algorithm=SHA-3',
        'Digest realm="a", nonce="b", qop="auth-int"',
        'Digest realm="a", nonce="\x7f", qop="auth"',
    ],
)
def test_a_challenge_we_cannot_answer_is_refused(challenge):
    with (
        serving(always(answer(b"", "401 X", f"WWW-Authenticate: {challenge}"))) as server,
        pytest.raises(ApiRefused),
    ):
        digest_client(server).get("/rpc")
    assert len(server.requests) == 1


def test_the_deadline_and_the_limit_hold_for_the_second_call_of_digest():
    device = DigestServer()

    def slow_when_known(request: Request) -> Answer:
        first = device(request)
        return first if b"401" in first[:20] else endless_body()

    def large_when_known(request: Request) -> Answer:
        first = device(request)
        return first if b"401" in first[:20] else answer(b" " * 100_000)

    with serving(slow_when_known) as server, pytest.raises(ApiError, match="did not answer within"):
        digest_client(server, timeout_seconds=0.3).get("/rpc")
    with serving(large_when_known) as server, pytest.raises(ApiError, match="more than"):
        digest_client(server, max_bytes=1_000).get("/rpc")


def test_a_renewed_credential_is_stored_before_it_is_used():
    stored = []
    http = Http(
        "http://example.org",
        credential="old",
        renew=lambda credential: stored.append((credential, http.credential)),
    )
    http.renew("new")
    assert (stored, http.credential) == ([("new", "old")], "new")


def test_a_credential_that_could_not_be_stored_is_not_used():
    def renew(credential: str) -> None:
        raise OSError("disk full")

    http = Http("http://example.org", credential="old", renew=renew)
    with pytest.raises(OSError, match="disk full"):
        http.renew("new")
    assert http.credential == "old"


SECRETS = ["geheimes Wort", "tok/en+123=", 'a"b\\c-secret']


@pytest.mark.parametrize("secret", SECRETS)
def test_no_message_holds_a_secret(secret):
    from urllib.parse import quote

    echo = f"{secret} {quote(secret)} {quote(secret, safe='')} {json.dumps(secret)}".encode()
    for body, status in ((echo, "404 X"), (echo, "503 X"), (echo, "200 OK")):
        with serving(always(answer(body, status))) as server:
            http = client(server, credential=f"admin:{secret}")
            http.auth = basic("admin", secret)
            with pytest.raises((ApiError, ApiRefused)) as failed:
                http.get(f"/api/{secret}/state")
        shown = f"{failed.value} {failed.value!r} {http!r} {http.auth!r}"
        assert not any(form in shown for form in (secret, quote(secret), json.dumps(secret)[1:-1]))
        assert "***" in shown


def test_nothing_of_a_call_is_logged():
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        assert get(b"HTTP/1.1 200 OK\r\nConnection: close\r\nno header\r\n\r\n1") == 1
        error_of(None)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert log.getvalue() == ""


@pytest.mark.parametrize("length", [8_200, 60_000])
def test_a_header_without_end_is_refused_unparsed(length):
    """It cost minutes of processor time, with the interpreter's lock held."""
    challenge = f"WWW-Authenticate: Digest {'a' * length}"
    with (
        serving(always(answer(b"", "401 X", challenge))) as server,
        pytest.raises(ApiError, match="is not HTTP"),
    ):
        digest_client(server).get("/rpc")


@pytest.mark.parametrize("rest", ["a" * 5_000, 'realm="a", nonce="b", ' + "c=d, " * 1_000])
def test_a_challenge_longer_than_any_real_one_is_not_answered(rest):
    challenge = f"WWW-Authenticate: Digest {rest}"
    with serving(always(answer(b"", "401 X", challenge))) as server:
        with pytest.raises(ApiRefused, match="refused the credential"):
            digest_client(server).get("/rpc")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("parameters", "read"),
    [
        ('realm="a b", nonce = n==, qop=auth', {"realm": "a b", "nonce": "n==", "qop": "auth"}),
        ('stale, realm="a"', {"realm": "a"}),
        ("x-realm=a", {"x-realm": "a"}),
        ('realm="not closed', {}),
    ],
)
def test_the_parameters_of_a_challenge(parameters, read):
    assert auth._parameters(parameters) == read
