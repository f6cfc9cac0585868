"""What waits for devices is quick here; the browser of the tests that need one, and a server for
pages that change by themselves."""

import shutil
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from django.db import connection
from django.test import Client

from core import vendors
from core.models import Presence, User
from core.net import transport
from core.simulator import Simulator
from core.tasks import gateways, poll
from core.tasks.orders import send
from tests.core.live.web_server import Web
from tests.core.workers import RABBITMQ, answers

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
VENDORS = [vendors.load(name) for name in vendors.names()]


@pytest.fixture(autouse=True)
def devices_settle_at_once(monkeypatch):
    """Simulated devices do what they are told at once: what is written is read back soon, and soon
    again. In other processes it takes as long as for real ones."""
    for client in VENDORS:
        monkeypatch.setattr(client, "settle", timedelta(milliseconds=20))
    monkeypatch.setattr(send, "SECOND_READ_SECONDS", 0.02)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody trusts yet, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_network("127.0.0.1")[0])]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(identifier, False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def untrusted_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def tls(untrusted_tls, certificate, monkeypatch):
    """A server's side of TLS, whose certificate is trusted the way a home would have it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transport._tls_context.cache_clear()
    yield untrusted_tls
    transport._tls_context.cache_clear()


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    # The browser's driver runs a loop in this thread until the last test's tables are empty again.
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def started():
    """Starts the gunicorn that all tests of a module share: `started(database_url, **environment)`.

    Only the first call starts it."""
    webs = []

    def start(database_url, **environment):
        if not webs:
            webs.append(Web(database_url, **environment))
            webs[0].start()
        return webs[0]

    yield start
    for web in webs:
        web.end()


@pytest.fixture
def web(started, chromium, database_url):
    return started(database_url, SOCKET_HEARTBEAT_SECONDS="1")


@pytest.fixture
def anna(transactional_db):
    return User.objects.create(username="anna", is_superuser=True, is_staff=True)


@pytest.fixture
def browse(chromium, anna):
    """Opens a path in a browser of its own, as anna, who may do everything, or as somebody else."""
    contexts = []
    complaints = []

    def open_page(site, path="/", user=anna, browser=chromium, **options):
        client = Client()
        client.force_login(user)
        context = browser.new_context(base_url=site, **options)
        context.add_cookies(
            [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}]
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if "Content Security Policy" in said.text else None
            ),
        )
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    wait_for_the_server()
    assert complaints == []


def wait_for_the_server():
    """Until it has done what pages asked last, and stored a moment later that their readers left:
    emptying tables in the middle of that would be a deadlock on PostgreSQL."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    until, quiet = time.monotonic() + 10, 0
    while connection.vendor == "postgresql" and quiet < 5 and time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(busy)
            quiet = quiet + 1 if cursor.fetchone() == (0,) and not Presence.objects.exists() else 0
        time.sleep(0.02)


@pytest.fixture
def simulator():
    """Two plugs that are off."""
    with Simulator(devices=2) as running:
        for device in running.devices:
            device.on = False
        yield running


@pytest.fixture
def device(chromium, transactional_db, simulator):
    found = gateways.add("shelly", simulator.address(0))
    poll.poll_devices(found.gateway.pk)
    return found.gateway.devices.get()


@pytest.fixture
def rabbitmq():
    if not answers(RABBITMQ):
        pytest.skip(f"RabbitMQ does not answer at {RABBITMQ}")
    return RABBITMQ
