"""Errors told to Sentry: what the log has at level ERROR and above, without people and credentials.

An event holds the traceback with its lines of source, the message, and the run, order and broker's
message it is about. Values of variables, requests, addresses and names of machines stay here.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from core.net import logs

HIDDEN = "***"
KEPT = (
    *("event_id", "timestamp", "platform", "sdk", "level", "logger", "environment", "release"),
    *("logentry", "exception"),
)
"""The only keys of an event that are sent, next to our tags."""
NOISE = ("django.security",)
"""Loggers of what strangers can bring about as often as they like."""
SECRET_NAME = re.compile(r"KEY|SECRET|PASS|TOKEN|CREDENTIAL|URL|DSN|^PINGS|^ALERT")
SHORTEST_SECRET = 6

_named = "password|passwd|passphrase|secret|token|auth_?key|api_?key|credential|cookie|session_?id"
PATTERNS = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(?:invitation|log-in)\.[\w-]+", HIDDEN),  # codes of links
        (r"\biot_\w{8,}", HIDDEN),
        (r"(?<=://)[^/\s@]+@", f"{HIDDEN}@"),
        (r"\?[^\s=?]+=[^\s\"')>]*", f"?{HIDDEN}"),  # a query may hold a key of any name
        (r"\b(bearer|basic|digest)\s+[\w.~+/=-]{8,}", rf"\1 {HIDDEN}"),
        (rf"((?:{_named})[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&)]+", rf"\1{HIDDEN}"),
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", HIDDEN),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", HIDDEN),
        (r"(?<![\w:])(?:[\da-f]{0,4}:){3,7}[\da-f]{0,4}(?![\w:])", HIDDEN),
        (r"(?<![\w:])[\da-f]{1,4}::[\da-f:]*(?![\w:])", HIDDEN),
    )
]


def start(dsn: str, environment: str, secrets: Collection[str]) -> None:
    """Have errors sent from now on, by a thread of its own. The package must be there."""
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration

    hide = Hider([*secrets, *of_environment()])
    sentry_sdk.init(
        dsn=dsn,
        environment=os.environ.get("SENTRY_ENVIRONMENT") or environment,
        # None would start git in each process.
        release=os.environ.get("SENTRY_RELEASE") or os.environ.get("HEROKU_SLUG_COMMIT") or "",
        before_send=lambda event, hint: cleaned(event, hint, hide),
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        # Django logs what fails in a request, Celery what fails in a task, and we the rest.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, sentry_logs_level=None),
            DedupeIntegration(),
            AtexitIntegration(callback=lambda pending, timeout: None),
        ],
    )


def tell(error: BaseException) -> None:
    """Tell an error that the log does not have. Without Sentry nothing happens."""
    sdk = sys.modules.get("sentry_sdk")
    if sdk is not None:
        sdk.capture_exception(error)


class Hider:
    """Replaces credentials, mail and IP addresses, wherever they stand in a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # The longest first: one may be a part of another.
        self.secrets = sorted(long, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, replacement in PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any) -> Any:
        """Replace in every text of a parsed JSON value, as in those of its lists and objects."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value


def of_environment() -> list[str]:
    """List what the environment holds that nobody may see, and the passwords in its addresses."""
    found: list[str] = []
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and value.strip():
            found.append(value.strip())
            for word in value.split():
                found += _passwords(word.strip(","))
    return found


def _passwords(address: str) -> list[str]:
    try:
        password = urlsplit(address).password
    except ValueError:  # it is no address
        return []
    return [password, unquote(password)] if password else []


def cleaned(event: Any, hint: Any, hide: Hider) -> Any:
    """Return what of an event is sent; None for what is no error of ours."""
    record = hint.get("log_record")
    if record is not None:
        # Django logs each answer of 500 and above: that of /healthz says only what alerts say.
        is_answer = record.name == "django.request" and not record.exc_info
        if is_answer or record.name.startswith(NOISE):
            return None
    kept: dict[str, Any] = {key: event[key] for key in KEPT if event.get(key)}
    if entry := kept.get("logentry"):
        kept["logentry"] = {key: entry[key] for key in ("message", "formatted") if key in entry}
    for each in kept.get("exception", {}).get("values", []):
        each["stacktrace"] = _without_values(each.get("stacktrace"))
        if each.get("type") == "CommandError" and each.get("value"):
            # What follows names gateways and devices, one a line.
            each["value"] = each["value"].splitlines()[0]
    said = {key: hide.value(kept[key]) for key in ("logentry", "exception") if key in kept}
    raised = hint.get("exc_info")
    about = logs.about_error(raised[1] if raised else None)
    return {**kept, **said, "tags": {key: str(value) for key, value in about.items()}}


def _without_values(trace: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out values of variables, which no setting of ours asks for."""
    for frame in (trace or {}).get("frames", []):
        frame.pop("vars", None)
    return trace
