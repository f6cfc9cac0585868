"""What people may type, checked before any task hears of it."""

from typing import Any

from django import forms

from core import rules, vendors
from core.models import Attribute, Device, Freshness, Gateway
from core.readings import LONGEST_TEXT, Kind, Value

LARGEST_KEY = 2**63 - 1


class FindDevices(forms.Form):
    """Search and filters of the status page. What cannot be understood is left out, not complained about."""

    q = forms.CharField(max_length=100, required=False)
    state = forms.ChoiceField(choices=[(freshness.value, freshness.value) for freshness in Freshness], required=False)
    gateway = forms.IntegerField(min_value=1, max_value=LARGEST_KEY, required=False)
    page = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)

    def wanted(self) -> dict[str, Any]:
        self.is_valid()
        return {name: self.cleaned_data.get(name) or None for name in self.fields}


class ChooseChart(forms.Form):
    """Which chart the device page shows. What cannot be understood is left out."""

    attribute = forms.IntegerField(min_value=1, max_value=LARGEST_KEY, required=False)
    span = forms.ChoiceField(choices=[(span, span) for span in ("day", "week", "month")], required=False)

    def wanted(self) -> dict[str, Any]:
        self.is_valid()
        return {"attribute": self.cleaned_data.get("attribute"), "span": self.cleaned_data.get("span") or "day"}


class OrderForm(forms.Form):
    """A value for one attribute: a pair of buttons, a number in its range, a choice, or a text."""

    value = forms.Field()

    def __init__(self, attribute: Attribute, data: Any = None) -> None:
        super().__init__(data, auto_id=f"%s-{attribute.pk}")
        self.attribute = attribute
        self.fields["value"] = field = _field(attribute)
        field.label = f"New value of {attribute.name.replace('_', ' ')}"
        if attribute.value is not None and not isinstance(attribute.value, bool):
            field.initial = f"{attribute.value:.12g}" if isinstance(attribute.value, float) else attribute.value

    def ordered(self) -> Value:
        value: Value = self.cleaned_data["value"]
        return value == "on" if self.attribute.kind == Kind.BOOLEAN else value


def _field(attribute: Attribute) -> forms.Field:
    if attribute.kind == Kind.BOOLEAN:
        return forms.ChoiceField(choices=[("on", "on"), ("off", "off")])
    if attribute.kind == Kind.NUMBER:
        number = forms.FloatField(min_value=attribute.minimum, max_value=attribute.maximum)
        number.widget.attrs["step"] = "any"
        return number
    if attribute.kind == Kind.CHOICE and attribute.choices:
        return forms.ChoiceField(choices=[(choice, choice) for choice in attribute.choices])
    return forms.CharField(max_length=LONGEST_TEXT)


def _rules() -> list[tuple[str, str]]:
    return [("", "none: nobody decides"), *rules.choices()]


class DeviceForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    rule = forms.ChoiceField(choices=_rules, required=False)

    class Meta:
        model = Device
        fields = ("name", "place", "latitude", "longitude", "zone", "rule", "enabled")
        help_texts = {
            "enabled": "Polled and decided for",
            "place": "Where it stands, in your words",
            "latitude": "In degrees, south is negative",
            "longitude": "In degrees, west is negative",
            "zone": "Such as Europe/London",
        }
        labels = {"zone": "Time zone"}


def _credential(**options: Any) -> forms.CharField:
    """Written, never shown again: the field is empty whenever the page is."""
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"})
    return forms.CharField(max_length=4000, required=False, widget=widget, **options)


def _address() -> forms.CharField:
    return forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={"inputmode": "url", "autocapitalize": "none", "spellcheck": "false"}),
    )


class AddGatewayForm(forms.Form):
    vendor = forms.ChoiceField(choices=vendors.choices)
    address = _address()
    credential = _credential()
    name = forms.CharField(max_length=120, required=False, help_text="Left empty, it is called what it calls itself")

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        kinds = [(name, vendors.load(name)) for name in vendors.names()]
        # Rows of text: a template would call a class.
        self.hints = [(name, kind.label, kind.address_example, kind.credential_hint) for name, kind in kinds]


class GatewayForm(forms.Form):
    name = forms.CharField(max_length=120)
    address = _address()
    credential = _credential(label="New credential", help_text="Left empty, the stored one stays. It is never shown.")
    enabled = forms.BooleanField(required=False, help_text="Asked at each poll")

    def __init__(self, gateway: Gateway, data: Any = None) -> None:
        stored = {"name": gateway.name, "address": gateway.address, "enabled": gateway.enabled}
        super().__init__(data, initial=stored)
