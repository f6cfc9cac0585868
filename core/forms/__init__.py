"""Forms of the pages: input is validated before it reaches a task."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings

from core import formatting, rules, vendors
from core.forms.text import TextField
from core.models import Attribute, Device, Freshness, Gateway, Site
from core.models.device import DeviceQuerySet
from core.readings import LONGEST_TEXT, Kind, Value

LARGEST_KEY = 2**63 - 1
MOST_DEVICES = 2_000
"""In a select; a device beyond is chosen with `set_rule`."""


class FindDevices(forms.Form):
    """Search and filters of the status page. Invalid input is ignored."""

    q = TextField(max_length=100, required=False)
    state = forms.ChoiceField(
        choices=[(freshness.value, freshness.value) for freshness in Freshness], required=False
    )
    gateway = forms.IntegerField(min_value=1, max_value=LARGEST_KEY, required=False)
    page = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)

    def wanted(self) -> dict[str, Any]:
        self.is_valid()
        return {name: self.cleaned_data.get(name) or None for name in self.fields}


class ChooseChart(forms.Form):
    """Which chart the device page shows. Invalid input is ignored."""

    attribute = forms.IntegerField(min_value=1, max_value=LARGEST_KEY, required=False)
    span = forms.ChoiceField(
        choices=[(span, span) for span in ("day", "week", "month", "year")], required=False
    )

    def wanted(self) -> dict[str, Any]:
        self.is_valid()
        return {
            "attribute": self.cleaned_data.get("attribute"),
            "span": self.cleaned_data.get("span") or "day",
        }


class Slider(forms.NumberInput):
    """From one end of the range to the other, in steps that the device can tell apart."""

    input_type = "range"

    def __init__(self, attribute: Attribute) -> None:
        step = max(attribute.step or 1, attribute.tolerance or 0)
        text = formatting.value_text(attribute.value, attribute.unit)
        super().__init__({"step": f"{step:g}", "data-unit": attribute.unit, "aria-valuetext": text})


class OrderForm(forms.Form):
    """A value for one attribute: a pair of buttons, a number in its range, a choice, or a text."""

    value = forms.Field()

    def __init__(self, attribute: Attribute, data: Any = None) -> None:
        super().__init__(data, auto_id=f"%s-{attribute.pk}")
        self.attribute = attribute
        self.fields["value"] = field = _field(attribute)
        field.label = f"New value of {attribute.name.replace('_', ' ')}"
        if attribute.value is not None and not isinstance(attribute.value, bool):
            field.initial = (
                f"{attribute.value:.12g}" if isinstance(attribute.value, float) else attribute.value
            )

    def ordered(self) -> Value:
        value: Value = self.cleaned_data["value"]
        return value == "on" if self.attribute.kind == Kind.BOOLEAN else value


def _field(attribute: Attribute) -> forms.Field:
    if attribute.kind == Kind.BOOLEAN:
        return forms.ChoiceField(choices=[("on", "on"), ("off", "off")])
    if attribute.kind == Kind.NUMBER:
        slider = Slider(attribute) if attribute.is_slider else None
        number = forms.FloatField(
            min_value=attribute.minimum, max_value=attribute.maximum, widget=slider
        )
        number.widget.attrs.setdefault("step", "any")
        return number
    if attribute.kind == Kind.CHOICE and attribute.choices:
        return forms.ChoiceField(choices=[(choice, choice) for choice in attribute.choices])
    return TextField(max_length=LONGEST_TEXT)


LIMITS = (
    "min_on_minutes",
    "min_off_minutes",
    "most_switches_an_hour",
    "fail_safe",
    "fail_safe_minutes",
    "hold_minutes",
)


class DeviceForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    class Meta:
        model = Device
        fields = ("name", "place", "latitude", "longitude", "zone", "region", "enabled", *LIMITS)
        field_classes = {"name": TextField, "place": TextField}
        help_texts = {
            "enabled": "Polled and switched by its rule",
            "place": "For example: kitchen",
            "latitude": "In degrees, south is negative",
            "longitude": "In degrees, west is negative",
            "zone": "Such as Europe/London",
        }
        labels = {
            "zone": "Time zone",
            "region": "Forecast region",
            "min_on_minutes": "Minimum minutes on",
            "min_off_minutes": "Minimum minutes off",
            "most_switches_an_hour": "Maximum switches an hour",
            "fail_safe": "Fail-safe state",
            "fail_safe_minutes": "Fail-safe after minutes",
            "hold_minutes": "Hold minutes after a change by hand",
        }

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        site = Site.home()
        inherited = {
            "place": site.place,
            "latitude": site.latitude,
            "longitude": site.longitude,
            "zone": site.clock,
        }
        for name, value in inherited.items():
            if value not in ("", None):
                self.fields[name].help_text = f"Empty: that of the home, {value}"

    def about(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in LIMITS]

    def limits(self) -> list[forms.BoundField]:
        return [self[name] for name in LIMITS]


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    class Meta:
        model = Site
        fields = ("name", "zone", "place", "latitude", "longitude")
        field_classes = {"name": TextField, "zone": TextField, "place": TextField}
        labels = {"zone": "Time zone"}
        help_texts = {
            "name": "For example: summer house",
            "place": "For example: Berlin",
            "latitude": "In degrees, south is negative. Feeds of weather and grid look there",
            "longitude": "In degrees, west is negative",
        }

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fields["zone"].widget.attrs["list"] = "zones"
        self.fields["zone"].help_text = (
            "Such as Europe/Berlin: rules go by its clock, summer time too. "
            f"Empty: {settings.TIME_ZONE}"
        )

    @staticmethod
    def zones() -> list[str]:
        """Return the zones that the page offers while one types."""
        return sorted(available_timezones())


class HoldForm(forms.Form):
    """For how many minutes a device is to stay as it is; empty: until a person releases it."""

    minutes = forms.IntegerField(min_value=1, max_value=7 * 24 * 60, required=False)

    def until(self, now: datetime) -> datetime | None:
        minutes = self.cleaned_data["minutes"]
        return now + timedelta(minutes=minutes) if minutes else None


class ChooseRule(forms.Form):
    """The choice of the rule or guard whose options are shown. An unknown name is none."""

    def __init__(
        self, place: str, label: str, choices: Sequence[tuple[str, str]], none: str, data: Any
    ) -> None:
        super().__init__(data)
        self.place = place
        self.fields[place] = forms.ChoiceField(
            label=label, choices=[("", none), *choices], required=False
        )

    @property
    def field(self) -> forms.BoundField:
        return self[self.place]

    def wanted(self) -> str:
        return str(self.cleaned_data[self.place]) if self.is_valid() else ""


class RuleForm(forms.Form):
    """A field for each option of a rule. An empty field means the default.

    `devices` are those that an option may name.
    """

    def __init__(
        self, rule: rules.Rule, devices: DeviceQuerySet, data: Any = None, **options: Any
    ) -> None:
        super().__init__(data, **options)
        self.rule = rule
        for option in fields(rule.options):
            if option.metadata.get("device"):
                stored = str(self.initial.get(option.name, ""))
                self.fields[option.name] = _device_field(option, devices, stored)
            else:
                self.fields[option.name] = _option_field(option)

    def clean(self) -> dict[str, Any]:
        written = {
            name: value for name, value in self.cleaned_data.items() if value not in ("", None)
        }
        try:
            self.rule.read(written)
        except ValueError as error:
            self.refuse(str(error))
        return written

    def refuse(self, sentence: str) -> None:
        """Show a sentence that begins with an option at its field, another above the form."""
        name, _, why = sentence.partition(": ")
        if name in self.fields:
            self.add_error(name, why)
        else:
            self.add_error(None, sentence)


def _option_field(option: Any) -> forms.Field:
    """Return the field for an option's type; the default is its placeholder."""
    unit = option.metadata.get("unit", "")
    shown = formatting.option_text(option.default, unit)
    about = {
        "required": False,
        "label": formatting.option_label(option.name, unit),
        "help_text": option.metadata.get("help", ""),
    }
    if option.type is bool:
        return forms.ChoiceField(
            choices=[("", f"default: {shown}"), ("on", "on"), ("off", "off")], **about
        )
    if chosen := option.metadata.get("choices"):
        said = [(choice, formatting.option_text(choice)) for choice in chosen]
        return forms.ChoiceField(choices=[("", f"default: {shown}"), *said], **about)
    if option.type in (int, float):
        field = (forms.IntegerField if option.type is int else forms.FloatField)(**about)
        field.widget.attrs |= {"step": "any", "placeholder": f"{option.default:.12g}"}
        return field
    return TextField(
        max_length=LONGEST_TEXT,
        widget=forms.TextInput(attrs={"placeholder": option.default}),
        **about,
    )


def _device_field(option: Any, devices: DeviceQuerySet, stored: str) -> forms.Field:
    """Return a choice of devices, with their gateways, for two may share a name.

    A stored one that is not among them is a choice too, so that no other takes its place unseen.
    """
    found = devices.select_related("gateway").order_by("name", "pk")[:MOST_DEVICES]
    choices = [("", option.metadata["nobody"])]
    choices += [(str(one.pk), f"{one} ({one.gateway}, {one.pk})") for one in found]
    if stored not in ("0", *(pk for pk, _ in choices)):
        choices.append((stored, f"device {stored}"))
    return forms.ChoiceField(
        choices=choices,
        required=False,
        label=formatting.option_label(option.name),
        help_text=option.metadata.get("help", ""),
    )


def _credential(**options: Any) -> forms.CharField:
    """Return a write-only field: the page never shows the stored credential."""
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"})
    return forms.CharField(max_length=4000, required=False, widget=widget, **options)


def _address(**options: Any) -> forms.CharField:
    return TextField(
        max_length=500,
        **options,
        widget=forms.TextInput(
            attrs={"inputmode": "url", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


ALLOW_NEW = "Of devices that push: each is added by its first message"


class AddGatewayForm(forms.Form):
    vendor = forms.ChoiceField(choices=vendors.choices)
    address = _address(required=False)
    credential = _credential()
    name = TextField(
        max_length=120, required=False, help_text="Left empty, the name it reports is used"
    )
    allow_new = forms.BooleanField(required=False, label="Allow new devices", help_text=ALLOW_NEW)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        kinds = [(name, vendors.load_or_default(name)) for name in vendors.names()]
        # Rows of text: a template would call a class.
        self.hints = [
            (name, kind.label, kind.address_example, kind.credential_hint, kind.pairing)
            for name, kind in kinds
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if not self.pushes and not cleaned.get("address") and "address" not in self.errors:
            self.add_error("address", "This field is required.")
        return cleaned

    @property
    def pushes(self) -> bool:
        """Whether its devices push, so that it has no address."""
        return vendors.load_or_default(self.cleaned_data.get("vendor", "")).pushes


class GatewayForm(forms.Form):
    name = TextField(max_length=120)
    address = _address()
    credential = _credential(
        label="New credential",
        help_text="Leave empty to keep the stored one. It is never shown, and sent to no other "
        "address: with another host, port or http for https, enter it again.",
    )
    enabled = forms.BooleanField(required=False, help_text="Polled at each run")

    def __init__(self, gateway: Gateway, data: Any = None) -> None:
        stored = {"name": gateway.name, "address": gateway.address, "enabled": gateway.enabled}
        super().__init__(data, initial=stored)


class PushingGatewayForm(forms.Form):
    """Of a gateway whose devices push: it has no address, and its secret is made here."""

    name = TextField(max_length=120)
    allow_new = forms.BooleanField(required=False, label="Allow new devices", help_text=ALLOW_NEW)
    enabled = forms.BooleanField(required=False, help_text="Readings are taken")

    def __init__(self, gateway: Gateway, data: Any = None) -> None:
        stored = {name: getattr(gateway, name) for name in ("name", "allow_new", "enabled")}
        super().__init__(data, initial=stored)


def gateway_form(gateway: Gateway, data: Any = None) -> GatewayForm | PushingGatewayForm:
    pushes = vendors.load_or_default(gateway.vendor).pushes
    return (PushingGatewayForm if pushes else GatewayForm)(gateway, data)
