from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks as django_checks
from pytest_django import Settings

from core import checks, feeds, vendors
from core.feeds import Feed
from core.vendors import Vendor


class Whole(Vendor):
    label = "Whole"
    address_example = "http://192.168.1.20"
    identify = devices = read = write = None  # type: ignore[assignment]  # there is nothing to call


@dataclass(frozen=True)
class Options:
    limit: int = 1


@dataclass
class Melted:
    limit: int = 1


@dataclass(frozen=True)
class Demanding:
    limit: int


def folder(load: Callable[[str], Any]) -> Any:
    """A plug-in folder that holds one file."""
    return SimpleNamespace(__name__="core.vendors", names=lambda: ["mine"], load=load)


@pytest.mark.django_db
def test_the_project_as_it_is_passes() -> None:
    assert django_checks.run_checks() == []
    assert {
        "check_plug_ins",
        "check_field_keys",
        "check_gateway_networks",
        "check_feeds",
        "check_public_status",
    } <= {
        check.__name__
        for check in django_checks.registry.registry.get_checks(include_deployment_checks=True)
    }


def test_a_plug_in_that_does_not_load_is_named_with_its_contract() -> None:
    [error] = checks.broken(folder(vendors.load), checks.vendor_complaint, "core.W002")
    assert str(error.msg).startswith("core/vendors/mine.py: There is no vendor 'mine'")
    assert "core/vendors/__init__.py" in str(error.hint)


def test_a_whole_plug_in_has_no_complaint() -> None:
    assert not list(checks.broken(folder(lambda name: Whole), checks.vendor_complaint, "core.W002"))


@pytest.mark.parametrize(
    ("client", "complaint"),
    [
        (int, "int is no subclass of Vendor"),
        (type("Half", (Vendor,), {}), "Half lacks devices, identify, read, write"),
        (type("Nameless", (Whole,), {"label": None}), "Nameless does not say its label"),
        (type("Hasty", (Whole,), {"settle": 1}), "settle is no timedelta"),
        (type("Slow", (Whole,), {"settle": timedelta(seconds=9)}), ""),
    ],
)
def test_a_vendor_keeps_its_contract(client: type, complaint: str) -> None:
    assert checks.vendor_complaint(client) == complaint


def test_a_feed_keeps_its_contract() -> None:
    assert checks.feed_complaint(type("Half", (Feed,), {})) == "Half lacks fetch"
    assert (
        checks.feed_complaint(type("Nameless", (Feed,), {"fetch": None}))
        == "Nameless does not say its label"
    )


@pytest.mark.parametrize(
    ("options", "decide", "complaint"),
    [
        (Options, min, ""),
        (Options, None, "decide is no function"),
        (Melted, min, "Options is no frozen dataclass"),
        (int, min, "Options is no frozen dataclass"),
    ],
)
def test_a_rule_keeps_its_contract(options: type, decide: object, complaint: str) -> None:
    assert checks.rule_complaint(SimpleNamespace(options=options, decide=decide)) == complaint


def test_an_option_without_a_default_is_a_complaint() -> None:
    rule = SimpleNamespace(options=Demanding, decide=min)
    [error] = checks.broken(folder(lambda name: rule), checks.rule_complaint, "core.W003")
    assert "limit" in str(error.msg)


def test_a_short_field_key_is_an_error(settings: Settings) -> None:
    settings.FIELD_KEYS = ["k" * 32, "short"]
    [error] = checks.check_field_keys(None)
    assert "token_urlsafe" in str(error.hint)
    settings.FIELD_KEYS = ["k" * 32]
    assert checks.check_field_keys(None) == []


@pytest.mark.parametrize(
    ("network", "ids"),
    [
        ("192.168.1.0/24", []),
        ("127.0.0.0/8", []),
        ("fd00::/8", []),
        ("8.8.8.0/24", ["core.W001"]),
        ("172.0.0.0/8", ["core.W001"]),
        ("0.0.0.0/0", ["core.E005"]),
        ("169.254.169.254/32", ["core.E005"]),
        ("fe80::/10", ["core.E005"]),
        ("::/0", ["core.E005"]),
        ("100.100.100.200/32", ["core.E005"]),
    ],
)
def test_networks_stay_in_the_home(settings: Settings, network: str, ids: list[str]) -> None:
    settings.GATEWAY_NETWORKS = (ip_network(network),)
    assert [message.id for message in checks.check_gateway_networks(None)] == ids


@pytest.mark.parametrize(
    ("named", "ids"),
    [
        (["replay"], []),
        (["replay:51.50", "-0.12"], []),
        ([], []),
        (["replay", "nonsense:13"], ["core.E006"]),
    ],
)
def test_feeds_are_known(settings: Settings, named: list[str], ids: list[str]) -> None:
    settings.FEEDS = named
    assert [message.id for message in checks.check_feeds(None)] == ids


def test_a_feed_has_its_credential(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds.load("replay"), "needs_credential", True)
    settings.FEEDS = ["replay"]
    [error] = checks.check_feeds(None)
    assert (error.id, "REPLAY_CREDENTIAL" in str(error.hint)) == ("core.E007", True)
    settings.FEED_CREDENTIALS = {"replay": "secret"}
    assert checks.check_feeds(None) == []


def test_public_pages_are_mentioned_when_deploying(settings: Settings) -> None:
    settings.PUBLIC_STATUS = True
    assert [message.id for message in checks.check_public_status(None)] == ["core.I001"]
    settings.PUBLIC_STATUS = False
    assert checks.check_public_status(None) == []
