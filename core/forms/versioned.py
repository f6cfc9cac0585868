"""Optimistic locking: who saves over a newer version sees both, and may save again to overwrite."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from django import forms
from django.http import QueryDict

from core.models import Device, Gateway

UNKNOWN = -1
"""A version that no row has."""


class Difference(NamedTuple):
    """One field, in words: as it is stored and as it was typed."""

    label: str
    theirs: str
    yours: str


class VersionField(forms.IntegerField):
    """The version that the page showed, hidden. A form without it is saved unconditionally."""

    def __init__(self) -> None:
        super().__init__(required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput)

    def clean(self, value: Any) -> int | None:
        try:
            version: int | None = super().clean(value)
        except forms.ValidationError:
            return UNKNOWN
        return version

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False  # no user changes it


class Seen(forms.Form):
    """The version that a page showed, beside the form that changes the thing."""

    version = VersionField()

    def __init__(self, stored: Device | Gateway, sent: Any = None) -> None:
        super().__init__(sent, initial={"version": stored.version}, auto_id=False)
        self.there: Device | Gateway | None = None
        """The stored row, if its version is not the one that the page showed."""
        self.differences: list[Difference] = []

    def wanted(self) -> int | None:
        self.is_valid()
        version: int | None = self.cleaned_data["version"]
        return version

    def renew(self, stored: Device | Gateway) -> None:
        """The form that comes back is of this version: to save it again overwrites that."""
        self.data = {"version": stored.version}

    def show_conflict(
        self, there: Device | Gateway, theirs: Mapping[str, str], yours: Mapping[str, str]
    ) -> None:
        """Show both versions, as stored() and typed() return them."""
        self.renew(there)
        self.there, self.differences = there, differences(theirs, yours)


class VersionedForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    """The same for the admin. The row must be locked when it is read, before the comparison."""

    version = VersionField()

    class Meta:
        exclude = ("version",)  # noqa: DJ006 (the admin names the fields)

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fields["version"].initial = self.instance.version

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        seen = self.cleaned_data.get("version")
        if seen is not None and seen != self.instance.version:
            self.data = cast(QueryDict, self.data).copy()
            self.data[self.add_prefix("version")] = str(self.instance.version)
            raise forms.ValidationError(
                in_words(self.instance, differences(stored(self), typed(self)))
            )
        return cleaned

    def save(self, commit: bool = True) -> Any:
        self.instance.version += 1
        return super().save(commit)


def stored(form: forms.BaseForm) -> dict[str, str]:
    """Return the initial values of a form as text, by label."""
    return {str(field.label): _in_words(field, field.initial) for field in form.visible_fields()}


def typed(form: forms.BaseForm) -> dict[str, str]:
    """Return the values typed into it as text, by label."""
    return {
        str(field.label): _in_words(field, _typed(form, field)) for field in form.visible_fields()
    }


def _typed(form: forms.BaseForm, field: forms.BoundField) -> Any:
    """Return the cleaned value, or the raw one if it is invalid."""
    return field.data if field.errors else form.cleaned_data.get(field.name)


def differences(theirs: Mapping[str, str], yours: Mapping[str, str]) -> list[Difference]:
    rows = [
        Difference(label, theirs.get(label, ""), yours.get(label, ""))
        for label in dict.fromkeys([*theirs, *yours])
    ]
    return [row for row in rows if row.theirs != row.yours]


def in_words(there: Device | Gateway, rows: list[Difference]) -> list[str]:
    lines = [
        f"{row.label}: stored {row.theirs or 'nothing'}, typed {row.yours or 'nothing'}."
        for row in rows
    ]
    begin = (
        f"{there} was changed by somebody else in the meantime. "
        "Your changes are not saved; save again to overwrite it."
    )
    return [begin, *(lines or ["Your values are the same as the stored ones."])]


def _in_words(field: forms.BoundField, value: Any) -> str:
    if isinstance(field.field.widget, forms.PasswordInput):
        return "(a new one: type it again)" if value else "(never shown)"
    if value in (None, ""):
        return ""
    if isinstance(field.field, forms.ChoiceField):
        return str(dict(cast(Iterable[tuple[Any, Any]], field.field.choices)).get(value, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
