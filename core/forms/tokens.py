"""Forms that issue and rotate tokens."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings

from core.forms.text import TextField
from core.models import Access, Device, Gateway, Right

MOST_OFFERED = 500
"""With more devices, a page of choices is of no use: `issue_token --device` takes numbers."""
LIFETIMES = [
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "a year"),
    ("", "does not expire"),
]
OVERLAPS = [
    ("0", "not at all: it ends now"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("168", "7 days"),
    ("720", "30 days"),
]
RIGHTS = {
    Right.READ: "read: see devices, their history and decisions",
    Right.CONTROL: "control: switch devices, hold them and release them",
    Right.INGEST: "ingest: send readings in",
    Right.ADMIN: "admin: add, change and remove gateways, devices and rules",
}


class TokenForm(forms.Form):
    """A new token. It offers what its person may do and see, and nothing more."""

    name = TextField(max_length=120, help_text="Who or what uses it, such as: night job on pi-2")
    rights = forms.MultipleChoiceField(label="What it may do", widget=forms.CheckboxSelectMultiple)
    gateways = forms.ModelMultipleChoiceField(
        Gateway.objects.none(),
        required=False,
        label="Only these gateways",
        help_text="None chosen: all that you may see, also later ones",
    )
    devices = forms.ModelMultipleChoiceField(
        Device.objects.none(),
        required=False,
        label="Only these devices",
        help_text="None chosen: all devices of these gateways",
    )
    days = forms.ChoiceField(choices=LIFETIMES, initial="90", required=False, label="Expires after")
    plan = forms.ChoiceField(required=False)
    alone = forms.BooleanField(
        required=False, label="Revoke all my other tokens", help_text="They stop working at once"
    )

    def __init__(self, access: Access, data: Any = None) -> None:
        super().__init__(data, initial={"rights": [Right.READ]})
        self._offer_plans(chooses=access.may_everywhere(Right.ADMIN))
        rights: Any = self.fields["rights"]
        rights.choices = [(right.value, RIGHTS[right]) for right in Right if right in access.rights]
        gateways = access.limit_gateways(Gateway.objects.present())
        devices = access.limit_devices(Device.objects.present())
        self._offer("gateways", gateways.order_by("name", "pk"))
        if devices.count() <= MOST_OFFERED:
            self._offer("devices", devices.select_related("gateway").order_by("name", "pk"))
        else:
            del self.fields["devices"]

    def _offer_plans(self, chooses: bool) -> None:
        """Let administrators of all choose. For others it is the plan with the fewest requests."""
        plans = sorted(settings.API_PLANS, key=settings.API_PLANS.__getitem__)
        if not plans:
            del self.fields["plan"]
            return
        choices = [(plan, f"{plan}: {settings.API_PLANS[plan]:,} requests a day") for plan in plans]
        field: Any = self.fields["plan"]
        field.choices = [("", "no limit"), *choices] if chooses else choices[:1]
        field.required = not chooses

    def _offer(self, name: str, rows: Any) -> None:
        field: Any = self.fields[name]
        field.queryset = rows
        field.widget.attrs["size"] = min(6, max(2, len(field.choices)))

    def wanted(self) -> dict[str, Any]:
        """Return what `tokens.issue` takes, after `is_valid`."""
        cleaned = self.cleaned_data
        days = cleaned["days"]
        return {
            "name": cleaned["name"],
            "rights": [Right(right) for right in cleaned["rights"]],
            "gateways": list(cleaned["gateways"]) or None,
            "devices": list(cleaned.get("devices", ())) or None,
            "lasts": timedelta(days=int(days)) if days else None,
            "alone": cleaned["alone"],
            "plan": cleaned.get("plan", ""),
        }


class RotateForm(forms.Form):
    """For how long the old token works beside the new one."""

    hours = forms.ChoiceField(
        choices=OVERLAPS, initial="24", label="The old one also works for another"
    )

    def overlap(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["hours"]))
