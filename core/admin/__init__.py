"""The admin, for inspection: rows that tasks write are read-only.

Fast with 10,000 devices and millions of observations.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core import formatting
from core.admin import people as people
from core.admin.lists import Base, OfOne, ReadOnly
from core.admin.publishing import PublishingAdmin
from core.forms.versioned import VersionedForm
from core.models import (
    Alert,
    AlertMessage,
    Attribute,
    Calibration,
    Device,
    DeviceCommand,
    Event,
    FeedSource,
    Forecast,
    Gateway,
    HourlyStatistics,
    IdempotencyKey,
    Invitation,
    Lease,
    LightningStrike,
    Measurement,
    Observation,
    Plan,
    Presence,
    Receipt,
    Relay,
    Run,
    Secret,
    Series,
    SignedMessage,
    Silence,
    Site,
    SiteImport,
    Token,
    Usage,
)


@admin.register(Observation)
class ObservationAdmin(OfOne):
    of = "attribute"
    list_select_related = ("attribute__device",)
    list_display = ("attribute", "observed_at", "number", "text")
    ordering = ("attribute_id", "-observed_at")


@admin.register(HourlyStatistics)
class HourlyStatisticsAdmin(OfOne):
    of = "attribute"
    list_select_related = ("attribute__device",)
    list_display = (
        "attribute",
        "starts_at",
        "observation_count",
        "minimum",
        "mean_over_time",
        "maximum",
    )
    ordering = ("attribute_id", "-starts_at")


@admin.register(Silence)
class SilenceAdmin(OfOne):
    of = "attribute"
    list_select_related = ("attribute__device",)
    list_display = ("attribute", "starts_at", "ends_at")
    ordering = ("attribute_id", "-starts_at")


class CredentialForm(VersionedForm):
    new_credential = forms.CharField(
        required=False,
        max_length=4000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
        help_text="Leave empty to keep the stored one. It is never shown.",
    )

    def save(self, commit: bool = True) -> Any:
        if plain := self.cleaned_data["new_credential"]:
            self.instance.credential = Secret.seal(plain)
        return super().save(commit)


class Kept(PublishingAdmin, Base):
    """Added by discovery, removed on their own page: a cascade over millions takes minutes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Site)
class SiteAdmin(ReadOnly):
    """Changed on its own page, which tells open pages of it."""

    list_display = ("name", "zone", "place", "latitude", "longitude")


@admin.register(Gateway)
class GatewayAdmin(Kept):
    form = CredentialForm
    list_display = (
        "name",
        "vendor",
        "address",
        "enabled",
        "failures",
        "error",
        "answered_at",
        "retry_at",
    )
    list_filter = ("vendor", "enabled", "refused", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "address", "key")
    readonly_fields = (
        *("vendor", "address", "key", "created_at", "removed_at", "asked_at", "answered_at"),
        *("failures", "error", "refused", "retry_at", "claimed_until"),
    )
    fields = ("version", "name", "enabled", "new_credential", *readonly_fields)


@admin.register(Device)
class DeviceAdmin(Kept):
    form = VersionedForm
    list_display = (
        "name",
        "place",
        "gateway",
        "model",
        "rule",
        "enabled",
        "heard_at",
        "measured_at",
        "available",
    )
    list_select_related = ("gateway",)
    list_filter = (
        "enabled",
        "available",
        "rule",
        "gateway__vendor",
        ("removed_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "place", "model", "vendor_id", "gateway__name")
    readonly_fields = (
        *(
            "gateway",
            "vendor_id",
            "model",
            "attributes_of_it",
            "heard_at",
            "measured_at",
            "available",
        ),
        *("rule", "options", "guard", "guard_options", "decision", "decided_at", "decisions_of_it"),
        *("held_at", "held_until", "hold_reason", "undecided_since", "removed_at"),
    )
    limits = (
        "min_on_minutes",
        "min_off_minutes",
        "most_switches_an_hour",
        "fail_safe",
        "fail_safe_minutes",
        "hold_minutes",
    )
    fields = (
        "version",
        "name",
        "place",
        "latitude",
        "longitude",
        "zone",
        "region",
        "enabled",
        *limits,
        *readonly_fields,
    )

    @admin.display(description="attributes")
    def attributes_of_it(self, device: Device) -> SafeString:
        return _list_link(Attribute, f"device__id__exact={device.pk}", "attributes")

    @admin.display(description="decisions")
    def decisions_of_it(self, device: Device) -> SafeString:
        chosen = f"device__id__exact={device.pk}"
        return format_html(
            "{} {}", _list_link(Receipt, chosen, "receipts"), _list_link(Plan, chosen, "plans")
        )


@admin.register(Attribute)
class AttributeAdmin(ReadOnly):
    list_display = (
        "name",
        "device",
        "kind",
        "value_now",
        "writable",
        "available",
        "observed_at",
        "heard_at",
        "history",
    )
    list_select_related = ("device",)
    list_filter = ("kind", "writable", "available")
    search_fields = ("name", "device__name")

    @admin.display(description="value")
    def value_now(self, attribute: Attribute) -> str:
        return formatting.value_text(attribute.value, attribute.unit)

    @admin.display(description="history")
    def history(self, attribute: Attribute) -> SafeString:
        chosen = f"attribute__id__exact={attribute.pk}"
        return format_html(
            "{} {} {}",
            _list_link(Observation, chosen, "observations"),
            _list_link(HourlyStatistics, chosen, "hours"),
            _list_link(Silence, chosen, "silences"),
        )


@admin.register(DeviceCommand)
class DeviceCommandAdmin(ReadOnly):
    list_display = (
        "attribute",
        "of_device",
        "value",
        "state",
        "source",
        "user",
        "requested_at",
        "finished_at",
        "error",
    )
    list_select_related = ("attribute__device", "user")
    list_filter = ("state", "source")
    search_fields = ("attribute__device__name", "attribute__name")

    @admin.display(description="device")
    def of_device(self, command: DeviceCommand) -> str:
        return str(command.attribute.device)


@admin.register(Receipt)
class ReceiptAdmin(OfOne):
    of = "device"
    list_display = ("decided_at", "voice", "rule", "sentence", "times", "repeated_at", "problem")
    ordering = ("device_id", "-decided_at")


@admin.register(Plan)
class PlanAdmin(OfOne):
    of = "device"
    list_display = (
        "deadline",
        "rule",
        "unit",
        "predicted",
        "actual",
        "at_once",
        "ideal",
        "delivered",
        "changes",
        "settled_at",
    )
    ordering = ("device_id", "-deadline")


@admin.register(FeedSource)
class FeedSourceAdmin(ReadOnly):
    list_display = ("feed", "region", "fetched_at", "failures", "error", "refused", "retry_at")
    list_filter = ("feed", "refused")
    search_fields = ("feed", "region", "error")


@admin.register(Series)
class SeriesAdmin(ReadOnly):
    list_display = ("signal", "source", "unit", "history")
    list_select_related = ("source",)
    list_filter = ("signal", "source__feed")
    search_fields = ("source__feed", "source__region")

    @admin.display(description="history")
    def history(self, series: Series) -> SafeString:
        chosen = f"series__id__exact={series.pk}"
        return format_html(
            "{} {} {}",
            _list_link(Forecast, chosen, "forecasts"),
            _list_link(Measurement, chosen, "measurements"),
            _list_link(Calibration, chosen, "calibrations"),
        )


@admin.register(Forecast)
class ForecastAdmin(OfOne):
    of = "series"
    list_select_related = ("series__source",)
    list_display = ("series", "issued_at", "known_at", "ends_at")
    ordering = ("series_id", "-issued_at")


@admin.register(Measurement)
class MeasurementAdmin(OfOne):
    of = "series"
    list_select_related = ("series__source",)
    list_display = ("series", "starts_at", "ends_at", "value", "known_at")
    ordering = ("series_id", "-starts_at", "-known_at")


@admin.register(Calibration)
class CalibrationAdmin(OfOne):
    of = "series"
    list_select_related = ("series__source",)
    list_display = ("series", "fitted_at")
    ordering = ("series_id", "-fitted_at")


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("pk", "happened_at", "kind", "device", "gateway")
    ordering = ("-pk",)
    sortable_by = ()


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = ("task", "outcome", "started_at", "seconds", "counts")
    list_filter = ("task", "outcome")


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    list_display = ("title", "key", "opened_at", "last_seen_at", "ended_at", "acknowledged_by")
    list_select_related = ("acknowledged_by",)
    list_filter = ("urgent",)


@admin.register(AlertMessage)
class AlertMessageAdmin(ReadOnly):
    list_display = ("alert", "phase", "channel_name", "fate", "due_at", "sent_at", "error")
    list_select_related = ("alert",)
    list_filter = ("phase", "fate")


@admin.register(Presence)
class PresenceAdmin(ReadOnly):
    list_display = ("device", "name", "is_changing", "expires_at")
    list_select_related = ("device",)


@admin.register(Relay)
class RelayAdmin(ReadOnly):
    list_display = ("last_event", "sent_at", "holder", "expires_at", "failing_since", "error")


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    list_display = ("task", "token", "holder", "expires_at")


@admin.register(LightningStrike)
class LightningStrikeAdmin(ReadOnly):
    list_display = ("struck_at", "latitude", "longitude")
    ordering = ("-struck_at",)


@admin.register(SiteImport)
class SiteImportAdmin(ReadOnly):
    list_display = ("rows", "of_rows", "mark")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnly):
    list_display = ("key", "owner", "command", "created_at")
    list_select_related = ("command__attribute__device",)
    exclude = ("answer",)


@admin.register(Token)
class TokenAdmin(ReadOnly):
    """Issued and revoked on their own page and by commands."""

    list_display = ("name", "user", "ending", "created_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    exclude = ("digest",)


@admin.register(Usage)
class UsageAdmin(ReadOnly):
    list_display = ("day", "token", "route", "requests")
    list_select_related = ("token",)
    list_filter = ("day",)


@admin.register(SignedMessage)
class SignedMessageAdmin(ReadOnly):
    list_display = ("message_id", "gateway", "received_at")
    list_select_related = ("gateway",)


@admin.register(Invitation)
class InvitationAdmin(ReadOnly):
    """Sent from the page People and by a command."""

    list_display = ("user", "invited_by", "invited_at", "sent_at", "error", "retry_at")
    list_select_related = ("user",)


def _list_link(model: type[Model], query: str, says: str) -> SafeString:
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, query, says)
