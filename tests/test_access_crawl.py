"""Every address, method and socket action, asked by everybody: who may do what.

docs/access.md is the table of what came out; UPDATE_DOCS=1 writes it anew. A new address is found
by itself, and its line has to be looked at.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from core.api import limits
from core.live.actions import ACTIONS, Refused
from core.live.sessions import LogIn, NotAdmitted, admit
from core.models import (
    Alert,
    Attribute,
    Device,
    DeviceCommand,
    FeedSource,
    Forecast,
    Gateway,
    Membership,
    Plan,
    Receipt,
    Right,
    Role,
    Run,
    Series,
    Token,
    User,
)
from core.tasks import decide, tokens, usage
from core.tasks.events.outbox import publishing
from iotapp.environment import Relay
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
TABLE = Path(__file__).parent.parent / "docs" / "access.md"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CANARY = "Canary"
MAY_SEE = {"public", "viewer", "operator", "admin", "t:read", "t:control", "t:ingest", "t:admin"}
"""Who may see something of the home, where it is theirs to do."""


@dataclass
class Home:
    """One device and all that there is about it, and a gateway that is somebody else's."""

    gateway: Gateway
    other: Gateway
    device: Device
    owner: User
    keys: dict[str, int]


def make_home() -> Home:
    now = timezone.now()
    gateway = make_gateway(f"{CANARY} hub", "http://127.0.0.1:1")
    other = make_gateway("Other", "http://127.0.0.1:2")
    device = make_device(gateway, f"{CANARY}-1", rule="awesome", decided_at=now)
    switch = Attribute.objects.get(device=device, name="on")
    soon = now + timedelta(hours=1)
    with publishing():
        run = Run.objects.create(task="poll")
        plan = Plan.objects.create(
            device=device,
            rule="awesome",
            signal="carbon_intensity",
            region="replay",
            opens_at=now,
            deadline=soon,
            job={"minutes": 30},
            windows=[],
            unit="gCO2",
            made_at=now,
            counted_until=now,
        )
    decide.decide()
    Receipt.objects.update(sentence=f"nothing, because of {CANARY}")
    receipt = Receipt.objects.get(device=device)
    # After deciding, which would send it.
    with publishing():
        command = DeviceCommand.objects.create(
            attribute=switch, number=1.0, source="human", reason=CANARY, expires_at=soon
        )
    source = FeedSource.objects.create(feed="canary", region="")
    series = Series.objects.create(source=source, signal="carbon_intensity", unit="gCO2/kWh")
    forecast = Forecast.objects.create(
        series=series, issued_at=now, known_at=now, ends_at=soon, slots=[[0, 1800, 200.0]]
    )
    owner = User.objects.create(username=f"{CANARY}-owner", is_superuser=True, is_staff=True)
    token = tokens.issue(owner, CANARY, [Right.READ]).token
    alert = Alert.objects.create(
        key=f"gateway:{gateway.pk}",
        gateway=gateway.pk,
        title=f"{CANARY} hub does not answer",
        first_seen_at=now,
        last_seen_at=now,
        counted_at=now,
        opened_at=now,
    )
    keys = {
        "alerts": alert.pk,
        "devices": device.pk,
        "attributes": switch.pk,
        "gateways": gateway.pk,
        "commands": command.pk,
        "runs": run.pk,
        "plans": plan.pk,
        "decisions": receipt.pk,
        "forecasts": forecast.pk,
        "tokens": token.pk,
        "people": owner.pk,
    }
    return Home(gateway, other, device, owner, keys)


# Who asks


def person(name: str, role: Role, gateway: Gateway | None = None) -> User:
    user = User.objects.create(username=name, is_staff=True)
    membership = Membership.objects.create(user=user, role=role, everywhere=gateway is None)
    if gateway:
        membership.gateways.add(gateway)
    return user


@dataclass
class Asking:
    """A client, and the log-in that its socket has; None: a token opens no socket."""

    client: Client
    session: str | None = None


def with_session(user: User | None) -> Asking:
    client = Client(raise_request_exception=False)
    if user is None:
        return Asking(client, "")
    client.force_login(user)
    return Asking(client, client.cookies["sessionid"].value)


def with_token(user: User, *rights: Right, **more: Any) -> Asking:
    issued = tokens.issue(user, "a test", rights, **more)
    return Asking(
        Client(raise_request_exception=False, headers={"authorization": f"Bearer {issued.text}"})
    )


def ended(how: str) -> Callable[[Home], Asking]:
    def make(home: Home) -> Asking:
        asking = with_token(home.owner, Right.READ, Right.CONTROL)
        newest = Token.objects.order_by("-pk").first()
        Token.objects.filter(pk=newest.pk).update(**{how: timezone.now()})
        return asking

    return make


WHO: dict[str, Callable[[Home], Asking]] = {
    "nobody": lambda home: with_session(None),
    "public": lambda home: with_session(None),
    "viewer": lambda home: with_session(person("vera", Role.VIEWER)),
    "operator": lambda home: with_session(person("otto", Role.OPERATOR)),
    "admin": lambda home: with_session(person("ada", Role.ADMINISTRATOR)),
    "of another": lambda home: with_session(person("olga", Role.ADMINISTRATOR, home.other)),
    "t:read": lambda home: with_token(home.owner, Right.READ),
    "t:control": lambda home: with_token(home.owner, Right.READ, Right.CONTROL),
    "t:ingest": lambda home: with_token(home.owner, Right.INGEST),
    "t:admin": lambda home: with_token(home.owner, *Right),
    "t:another": lambda home: with_token(home.owner, *Right, gateways=[home.other]),
    "t:expired": ended("expires_at"),
    "t:revoked": ended("revoked_at"),
}
LEGEND = """`nobody` has no log-in while PUBLIC_STATUS is off, `public` while it is on. `of another`
is an administrator of another gateway than the one asked about. `t:` are tokens: with the rights
read; read and control; ingest; all; all, of another gateway; expired; revoked. ✓: it is done, or
would be if the body were right. Lists leave out what somebody may not see."""


# What is asked


def routes(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each address with the methods it may have."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and route != "admin/":
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route != "api/":
            view = getattr(pattern.callback, "view_class", None)
            if route.startswith("api/"):
                yield route, tuple(name for name in METHODS if hasattr(view, name.lower()))
            else:
                yield route, ("GET", "POST")
    if not prefix:
        for route in ("admin/", "admin/core/device/", "admin/core/user/"):
            yield route, ("GET", "POST")


def address(route: str, home: Home) -> str:
    def key(found: re.Match[str]) -> str:
        before = [word for word in route[: found.start()].split("/") if word]
        return str(home.keys[before[-1]])

    return "/" + re.sub(r"<int:pk>", key, route)


def is_done(response: Any) -> bool:
    if response.status_code == 302:
        return not response.headers["Location"].startswith(("/login/", "/admin/login/"))
    return response.status_code not in (401, 403, 404, 405)


def shown(response: Any) -> str:
    if response.streaming:
        return ""
    return str(response.content.decode(errors="replace"))


def ask(asking: Asking, method: str, path: str) -> Any:
    limits.forget()
    return asking.client.generic(method, path, b"{}", content_type="application/json")


@pytest.fixture
def everywhere(settings: Any) -> Iterator[Callable[[str], None]]:
    settings.RELAY = Relay("key", "secret", "app", "http://127.0.0.1:1", "ws://127.0.0.1:1")

    def choose(who: str) -> None:
        settings.PUBLIC_STATUS = who == "public"

    yield choose
    usage.forget()  # of tokens that are no more


def act(asking: Asking, verb: str, home: Home) -> bool:
    body = {"attribute": home.keys["attributes"], "value": True, "device": home.device.pk}
    if asking.session is None:
        return False
    try:
        log_in: LogIn = admit(asking.session)
        if verb != "open":
            ACTIONS[verb](log_in, body)
    except (NotAdmitted, Refused):
        return False
    return True


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(who: str, everywhere: Callable[[str], None]) -> None:
    done: dict[str, bool] = {}
    leaks: list[str] = []
    home = make_home()
    everywhere(who)
    make = WHO[who]
    asking = make(home)
    for route, method in every_address():
        response = ask(asking, method, address(route, home))
        line = f"{method} /{route}"
        assert response.status_code < 500 or route == "healthz", line
        done[line] = is_done(response)
        if CANARY in shown(response) and not (who in MAY_SEE and is_done(response)):
            leaks.append(f"{who} sees {CANARY} by {line} ({response.status_code})")
        if method != "GET" and is_done(response):
            _forget_home()
            home = make_home()
            asking = make(home)
    for verb in ("open", *ACTIONS):
        done[f"socket: {verb}"] = act(asking, verb, home)
    assert leaks == []
    _compare(who, {line for line, is_allowed in done.items() if is_allowed})


def every_address() -> list[tuple[str, str]]:
    addresses = sorted(set(routes(get_resolver().url_patterns)))
    return [(route, method) for route, names in addresses for method in names]


def _forget_home() -> None:
    Alert.objects.all().delete()
    Gateway.objects.all().delete()
    User.objects.all().delete()
    FeedSource.objects.all().delete()
    Run.objects.all().delete()


def _compare(who: str, found: set[str]) -> None:
    """Compare with the column of docs/access.md; with UPDATE_DOCS write it first."""
    if os.environ.get("UPDATE_DOCS"):
        table = read_table()
        for line in found | set(table):
            by = table.setdefault(line, set())
            by.discard(who)
            if line in found:
                by.add(who)
        TABLE.write_text(text_of(table))
    known = {line for line, by in read_table().items() if who in by}
    assert found == known, "Look at what changed with UPDATE_DOCS=1, -n 0 and git diff."


def read_table() -> dict[str, set[str]]:
    """Return who may do each line, by docs/access.md."""
    table = {}
    for row in TABLE.read_text().splitlines():
        if row.startswith("| `"):
            line, *marks = [cell.strip() for cell in row.strip("|").split("|")]
            table[line.strip("`")] = {who for who, mark in zip(WHO, marks, strict=True) if mark}
    return table


def text_of(table: dict[str, set[str]]) -> str:
    head = f"| | {' | '.join(WHO)} |\n|---|{'---|' * len(WHO)}\n"
    rows = "".join(
        f"| `{line}` | {' | '.join('✓' if who in by else '' for who in WHO)} |\n"
        for line, by in sorted(table.items(), key=lambda one: one[0].partition(" ")[::-1])
        if by
    )
    return f"# Who may do what\n\n{LEGEND}\n\n{head}{rows}"


def test_the_table_is_as_it_is_written() -> None:
    assert TABLE.read_text() == text_of(read_table())
