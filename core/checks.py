"""What `manage.py check` finds, and Django at the start of a command that a person types.

Every hint says what to do.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from inspect import isabstract
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from core.net.addresses import HOME_NETWORKS, Network, refusal

SHORTEST_KEY = 32

Messages = list[checks.CheckMessage]


def register_all() -> None:
    for check in (
        check_plug_ins,
        check_field_keys,
        check_gateway_networks,
        check_feeds,
        check_redis,
        check_celery,
        check_sentry,
    ):
        checks.register(check)
    checks.register(check_public_status, deploy=True)


def check_plug_ins(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    """Check that every vendor, rule and feed file loads and keeps its contract."""
    # Imported late: vendors import requests, which a scheduled command should not pay for.
    from core import feeds, rules, vendors

    return [
        *broken(vendors, vendor_complaint, "core.W002"),
        *broken(rules, rule_complaint, "core.W003"),
        *broken(feeds, feed_complaint, "core.W004"),
    ]


def check_celery(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    """Check that Celery is there where a broker is configured."""
    if not settings.CELERY_BROKER_URL or find_spec("celery"):
        return []
    return [
        checks.Error(
            "CELERY_BROKER_URL is set, and Celery is not installed.",
            hint="Run: pip install -r requirements-celery.txt, or unset CELERY_BROKER_URL.",
            id="core.E009",
        )
    ]


def check_sentry(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    """Check that Sentry's package is there where errors are to be told to it."""
    if not settings.SENTRY_DSN or find_spec("sentry_sdk"):
        return []
    return [
        checks.Error(
            "SENTRY_DSN is set, and the package sentry-sdk is not installed.",
            hint="Run: pip install -r requirements-sentry.txt, or unset SENTRY_DSN.",
            id="core.E011",
        )
    ]


def broken(
    folder: ModuleType, complaint: Callable[[Any], str], id: str
) -> Iterator[checks.CheckMessage]:
    for name in folder.names():
        try:
            problem = complaint(folder.load(name))
        except LookupError as error:  # its sentence names the file
            problem = str(error)
        except Exception as error:  # a plug-in file may fail in any way
            problem = f"{type(error).__name__}: {error}"
        if problem:
            path = folder.__name__.replace(".", "/")
            # A warning: it costs only what uses the file, so the pages and `migrate` go on.
            yield checks.Warning(
                problem if problem.startswith(path) else f"{path}/{name}.py: {problem}",
                hint=f"Mend it, or take it out of {path}, which holds nothing else. "
                f"The contract is in {path}/__init__.py.",
                id=id,
            )


def vendor_complaint(client: type[Any]) -> str:
    from core.vendors import Vendor

    texts = ("label", "address_example", "credential_hint")
    if complaint := subclass_complaint(client, Vendor, texts):
        return complaint
    return "" if isinstance(client.settle, timedelta) else "settle is no timedelta"


def feed_complaint(feed: type[Any]) -> str:
    from core.feeds import Feed

    return subclass_complaint(feed, Feed, ("label",))


def subclass_complaint(found: type[Any], contract: type[Any], texts: Sequence[str]) -> str:
    if not issubclass(found, contract):
        return f"{found.__name__} is no subclass of {contract.__name__}"
    if isabstract(found):
        return f"{found.__name__} lacks {', '.join(sorted(found.__abstractmethods__))}"
    missing = [name for name in texts if not isinstance(getattr(found, name, None), str)]
    return f"{found.__name__} does not say its {', '.join(missing)}" if missing else ""


def rule_complaint(rule: Any) -> str:
    parameters = getattr(rule.options, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        return "Options is no frozen dataclass"
    rule.options()  # raises where a field has no default, or a default is refused
    return "" if callable(rule.decide) else "decide is no function"


def check_field_keys(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    if all(len(key) >= SHORTEST_KEY for key in settings.FIELD_KEYS):
        return []
    return [
        checks.Error(
            f"A key in FIELD_KEYS is shorter than {SHORTEST_KEY} characters.",
            hint="Put a longer one in front, made with "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(50))'.",
            id="core.E004",
        )
    ]


def check_gateway_networks(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    messages: Messages = []
    for network in settings.GATEWAY_NETWORKS:
        messages += network_messages(network)
    return messages


def network_messages(network: Network) -> Iterator[checks.CheckMessage]:
    if never := refusal(network.network_address, [network]):
        yield checks.Error(
            f"GATEWAY_NETWORKS holds {network}, but {never}",
            hint="Name only the networks of your devices, such as 192.168.1.0/24, or private.",
            id="core.E005",
        )
    elif not any(is_within(network, home) for home in HOME_NETWORKS):
        yield checks.Warning(
            f"GATEWAY_NETWORKS holds {network}, which is more than private addresses.",
            hint="Take it out: public addresses need no permission. "
            "Name only the private networks of your devices.",
            id="core.W001",
        )


def is_within(network: Network, other: Network) -> bool:
    return network.network_address in other and network.prefixlen >= other.prefixlen


def check_feeds(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    """Check that FEEDS names feeds that exist, each with the credential it needs."""
    from core import feeds
    from core.tasks.forecasts.regions import configured

    messages: Messages = []
    for source in configured():
        feed = source.feed
        if feed not in feeds.names():
            messages.append(
                checks.Error(
                    f"FEEDS names {feed!r}, and there is no such feed.",
                    hint=f"Known: {', '.join(feeds.names())}. "
                    "A region goes after a colon: carbon_intensity_gb:13,open_meteo.",
                    id="core.E006",
                )
            )
        elif needs_credential(feed) and not settings.FEED_CREDENTIALS.get(feed):
            messages.append(
                checks.Error(
                    f"FEEDS names {feed}, which needs a credential.",
                    hint=f"Set {feed.upper()}_CREDENTIAL, or take {feed} out of FEEDS.",
                    id="core.E007",
                )
            )
        elif wrong := options_complaint(feed):
            messages.append(
                checks.Error(
                    f"{feed.upper()}_OPTIONS: {wrong}",
                    hint="Write them as NAME=VALUE, with spaces between: kwp=5 tilt=35.",
                    id="core.E010",
                )
            )
    return messages


def options_complaint(feed: str) -> str:
    from core import feeds

    try:
        feeds.read_options(feed, settings.FEED_OPTIONS.get(feed, ""))
    except ValueError as error:
        return str(error)
    except LookupError:  # check_plug_ins tells of a file that does not load
        pass
    return ""


def needs_credential(feed: str) -> bool:
    from core import feeds

    try:
        return feeds.load(feed).needs_credential
    except LookupError:  # check_plug_ins tells of a file that does not load
        return False


def check_redis(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    if not settings.REDIS_URL or find_spec("redis"):
        return []
    return [
        checks.Error(
            "REDIS_URL is set, and the package redis is not installed.",
            hint="Install it: pip install -r requirements-redis.txt, or take REDIS_URL out.",
            id="core.E008",
        )
    ]


def check_public_status(app_configs: Sequence[AppConfig] | None, **options: Any) -> Messages:
    if not settings.PUBLIC_STATUS:
        return []
    return [
        checks.Info(
            "PUBLIC_STATUS is on: anybody who finds the address may read the status pages.",
            hint="Set PUBLIC_STATUS=0 if that is not meant.",
            id="core.I001",
        )
    ]
