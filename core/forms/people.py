"""Forms for people: invited, given a role, let in by a link."""

from typing import Any

from django import forms

from core.models import Gateway, Role, User


class RoleForm(forms.Form):
    """What somebody may do, and where."""

    role = forms.ChoiceField(
        choices=Role.choices,
        help_text="Viewers see, operators also switch devices, administrators change everything",
    )
    # Not by an empty list: somebody whose last gateway was removed must not get all by a "Save".
    everywhere = forms.BooleanField(
        required=False, initial=True, label="All gateways, also later ones"
    )
    gateways = forms.ModelMultipleChoiceField(
        Gateway.objects.present(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="If not all: only the devices of these",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned["everywhere"] and cleaned.get("gateways"):
            self.add_error("gateways", "Choose all gateways, or some.")
        return cleaned

    def chosen(self) -> tuple[Role, list[Gateway] | None]:
        """Return the role and the gateways, None for all."""
        where = None if self.cleaned_data["everywhere"] else list(self.cleaned_data["gateways"])
        return Role(self.cleaned_data["role"]), where


MOST_INVITED = 100
"""At once: the request sends the mails."""


class InviteForm(RoleForm):
    people = forms.CharField(
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4, "autocapitalize": "none", "spellcheck": "false"}),
        label="Mail addresses",
        help_text=f"A line each, at most {MOST_INVITED}",
    )
    field_order = ("people", "role", "everywhere", "gateways")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not cleaned["everywhere"] and not cleaned.get("gateways") and not self.errors:
            self.add_error("gateways", "Choose all gateways, or some.")
        return cleaned

    def clean_people(self) -> str:
        people = str(self.cleaned_data["people"])
        if len([line for line in people.splitlines() if line.strip()]) > MOST_INVITED:
            raise forms.ValidationError(
                f"At most {MOST_INVITED} at once: manage.py invite FILE takes thousands."
            )
        return people


class PersonForm(RoleForm):
    """The role of somebody who is there. Closed accounts log in no more."""

    is_active = forms.BooleanField(required=False, label="May log in")

    def __init__(self, person: User, data: Any = None) -> None:
        membership = getattr(person, "membership", None)
        gateways = [] if membership is None else membership.gateways.all()
        stored = {
            "role": membership.role if membership else Role.VIEWER,
            "everywhere": membership.everywhere if membership else True,
            "gateways": gateways,
            "is_active": person.is_active,
        }
        super().__init__(data, initial=stored)


class AskForLinkForm(forms.Form):
    email = forms.EmailField(
        max_length=254,
        label="Your mail address",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


class LinkForm(forms.Form):
    code = forms.CharField(
        max_length=500,
        label="Code of the link",
        help_text="What stands behind the # in the link",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
