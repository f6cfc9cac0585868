"""Template tags for values, times and states, and for the data that the scripts read."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core import formatting
from core.models import Attribute, Device, DeviceCommand, Freshness, Gateway
from core.models.attribute import moves_daily
from core.models.device_command import OPEN, State
from core.models.freshness import late_after
from core.readings import Kind, Source

register = template.Library()

# One shape a state, so that colour is never the only sign. In a box of 16 by 16.
SHAPES = {
    Freshness.FRESH: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
    Freshness.LATE: "M8 1L15.5 14.5H.5z",
    Freshness.STALE: "M8 .5L15.5 8L8 15.5L.5 8z",
    Freshness.UNREACHABLE: "M4 1L8 5L12 1L15 4L11 8L15 12L12 15L8 11L4 15L1 12L5 8L1 4z",
    Freshness.NEVER: "M8 1a7 7 0 1 0 0 14a7 7 0 1 0 0-14zM8 4a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    Freshness.PAUSED: "M3 2h3.5v12H3zM9.5 2H13v12H9.5z",
}
SOCKET = "/ws/events/"
RELAY_PROTOCOL = "protocol=7&client=iotapp&version=1"
LOUD = (State.FAILED, State.UNCONFIRMED, State.EXPIRED)


@register.simple_tag
def is_demo() -> bool:
    return bool(settings.DEMO)


@register.simple_tag
def shape(freshness: Freshness) -> SafeString:
    return format_html(
        '<svg class="shape" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">'
        '<path fill-rule="evenodd" d="{}"/></svg>',
        SHAPES[freshness],
    )


@register.simple_tag
def state(freshness: Freshness) -> SafeString:
    return format_html(
        '<span class="state" data-state="{0}" title="{1}">{2} {0}</span>',
        freshness,
        means(freshness),
        shape(freshness),
    )


@register.simple_tag(takes_context=True)
def live(context: dict[str, Any], page: str, topic: str) -> SafeString:
    """Return attributes for the page's script: its topic, the event to follow from, and where."""
    return format_html(
        ' data-page="{}" data-topic="{}" data-last="{}" data-now="{}" data-late="{}"{}',
        page,
        topic,
        context["last_event"] or "",
        _seconds(context["now"]),
        late_after().total_seconds(),
        _followed(context["request"]),
    )


@register.simple_tag
def written() -> SafeString:
    """Return when the page was written, for its script, which knows when it arrived.

    It stands at the end of a page: what was asked for before may have taken its time.
    """
    return format_html(' data-written="{}"', _seconds(timezone.now()))


def _followed(request: HttpRequest) -> SafeString:
    """Return the address of the socket: the relay's for people with a log-in, else our own.

    It is left out where the server does not support WebSockets.
    """
    if settings.RELAY and request.user.is_authenticated:
        address = f"{settings.RELAY.socket}/app/{settings.RELAY.key}?{RELAY_PROTOCOL}"
        return format_html(' data-socket="{}" data-relay', address)
    return format_html(' data-socket="{}"', SOCKET) if hasattr(request, "scope") else SafeString("")


@register.inclusion_tag("core/_live.html")
def live_words() -> dict[str, Any]:
    """Render the words and shapes that the page's script copies."""
    kinds = {**dict.fromkeys(LOUD, "loud"), **dict.fromkeys(OPEN, "open")}
    return {
        "states": list(Freshness),
        "steps": [
            (step.value, said, kinds.get(step, "")) for step, said in formatting.STATE_WORDS.items()
        ],
    }


@register.simple_tag
def heard(thing: Device | Attribute, freshness: Freshness) -> SafeString:
    """Return the inputs of the freshness, so that the page's script can update it."""
    device = thing.device if isinstance(thing, Attribute) else thing
    measured_at = thing.measured_at if isinstance(thing, Device) else _daily(thing)
    return format_html(
        ' data-freshness="{}" data-gateway="{}" data-heard="{}" data-measured="{}"{}{}{}{}',
        freshness,
        device.gateway_id,
        _seconds(thing.heard_at),
        _seconds(measured_at),
        _silence(device.due_at, thing.heard_at),
        "" if thing.available else SafeString(" data-unavailable"),
        SafeString(" data-failing") if device.gateway.failures else "",
        SafeString(" data-paused") if device.is_paused else "",
    )


def _silence(due_at: datetime | None, heard_at: datetime | None) -> SafeString:
    """Return after how long without a message a device that pushes is stale."""
    if due_at is None or heard_at is None:
        return SafeString("")
    return format_html(' data-silence="{}"', (due_at - heard_at).total_seconds())


@register.simple_tag
def value_of(attribute: Attribute) -> SafeString:
    return format_html(' data-value="{}" data-unit="{}"', attribute.pk, attribute.unit)


@register.simple_tag
def order_of(attribute: Attribute) -> SafeString:
    """Return attributes for a form that sends a command: the labels depend on the value."""
    press: SafeString | str = ""
    if attribute.kind == Kind.BOOLEAN:
        on, off = (formatting.press_text(attribute, value) for value in (True, False))
        press = format_html(' data-on="{}" data-off="{}"', on, off)
    return format_html(' data-order="{}" data-kind="{}"{}', attribute.pk, attribute.kind, press)


@register.simple_tag
def command_of(attribute: Attribute) -> SafeString:
    """Return attributes for the line about its last command. `on` needs no name."""
    name = "" if attribute.name == "on" else f"{formatting.label(attribute)} "
    device = f"{attribute.device}, {formatting.label(attribute)}"
    return format_html(
        ' data-told="{}" data-unit="{}" data-name="{}" data-whose="{}"',
        attribute.pk,
        attribute.unit,
        name,
        device,
    )


def _daily(attribute: Attribute) -> datetime | None:
    return attribute.observed_at if moves_daily(attribute.name, attribute.writable) else None


def _seconds(time: datetime | None) -> float | str:
    """Since 1970, as the script and the socket count."""
    return round(time.timestamp(), 3) if time else ""


@register.filter
def means(freshness: Freshness) -> str:
    return formatting.FRESHNESS_MEANS[freshness]


@register.simple_tag(takes_context=True)
def ago(context: dict[str, Any], time: datetime | None) -> SafeString | str:
    """Show the time relative to now, the time itself on hover.

    The page's script moves both to the reader's zone.
    """
    if time is None:
        return "never"
    return _relative(time, "ago", formatting.ago(time, context["now"]))


@register.simple_tag(takes_context=True)
def due(context: dict[str, Any], time: datetime) -> SafeString:
    """Show when what is awaited comes, the same way."""
    return _relative(time, "due", formatting.due(time, context["now"]))


def _relative(time: datetime, kind: str, words: str) -> SafeString:
    utc = time.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}" data-{}>{}</time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}",
        f"{utc:%-d %b %Y, %H:%M:%S} UTC",
        kind,
        words,
    )


@register.filter
def is_overdue(time: datetime, now: datetime) -> bool:
    return formatting.is_overdue(time, now)


@register.simple_tag
def clock(time: datetime) -> SafeString:
    """Show date and time, in UTC until the page's script moves it to the reader's zone."""
    utc = time.astimezone(UTC)
    shown = f"{utc:%-d %b, %H:%M:%S}"
    return format_html(
        '<time datetime="{}" data-clock>{} UTC</time>', f"{utc:%Y-%m-%dT%H:%M:%SZ}", shown
    )


@register.simple_tag(takes_context=True)
def moment(context: dict[str, Any], time: datetime) -> SafeString:
    """Show the time of day, with the date if not today; in UTC until the page's script moves it."""
    utc = time.astimezone(UTC)
    is_today = utc.date() == context["now"].astimezone(UTC).date()
    shown = f"{utc:%H:%M}" if is_today else f"{utc:%-d %b, %H:%M}"
    title = f"{utc:%-d %b %Y, %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}" data-moment>{} UTC</time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}",
        title,
        shown,
    )


@register.simple_tag(takes_context=True)
def gateway_name(context: dict[str, Any], gateway: Gateway) -> str:
    """Return its name. One without a name is called by its address, if the reader is logged in."""
    user = context.get("user")
    return str(gateway) if user and user.is_authenticated else gateway.public_name


@register.filter
def label(attribute: Attribute) -> str:
    return formatting.label(attribute)


@register.filter
def in_words(attribute: Attribute) -> str:
    return formatting.value_text(attribute.value, attribute.unit)


@register.filter
def counts(counts: dict[str, int]) -> str:
    return formatting.counts_text(counts)


@register.filter
def presses(attribute: Attribute) -> list[tuple[str, str]]:
    """Return the buttons of a switch as (value, label).

    Only the one that changes its state; both where the state is unknown.
    """
    values = [True, False] if attribute.value is None else [not attribute.value]
    return [
        (formatting.value_text(value), formatting.press_text(attribute, value)) for value in values
    ]


@register.filter
def ordered(command: DeviceCommand) -> str:
    return formatting.order_text(command)


@register.filter
def became(command: DeviceCommand) -> str:
    return formatting.STATE_WORDS[State(command.state)]


@register.filter
def is_loud(command: DeviceCommand) -> bool:
    return command.state in LOUD


@register.filter
def who(source: str) -> str:
    """Say who sent a command or made a decision; "" is nobody."""
    return formatting.SOURCE_WORDS[Source(source)] if source else "nobody"


@register.filter
def named(rule: str) -> str:
    """A rule's or a feed's name as people read it."""
    return rule.replace("_", " ")


@register.filter
def is_held(device: Device, now: datetime) -> bool:
    return device.is_held(now)


@register.filter
def number(value: float | None) -> str:
    return "–" if value is None else formatting.number_text(value)


@register.filter
def plural(count: int, one: str) -> str:
    """`{{ 2|plural:"device" }}` is 2 devices."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
