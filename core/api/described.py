"""How the answers of core/serializers.py look, for the schema. Nothing is written through these."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema_field,
)
from rest_framework import serializers

from core.api.problems import MEDIA_TYPE
from core.models import Freshness
from core.models.run import Outcome
from core.readings import Kind, Source

PROBLEM = {"$ref": "#/components/schemas/Problem"}
"""The component of that name, which schema.py adds."""


# Without a docstring: it would be the description of every thing that has none of its own.
class Described(serializers.Serializer[Any]):
    pass


def problems(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Describe errors that only some addresses have. Those of all are in schema.py."""
    return {
        (status, MEDIA_TYPE): OpenApiResponse(PROBLEM, HTTPStatus(status).phrase)
        for status in statuses
    }


class Time(serializers.DateTimeField):
    """ISO 8601 in UTC."""


@extend_schema_field({"type": ["number", "boolean", "string"]})
class ValueField(serializers.JSONField):
    """A number, true or false, or a text: by the attribute's kind."""


class AttributeShown(Described):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[kind.value for kind in Kind])
    unit = serializers.CharField(allow_blank=True)
    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)
    step = serializers.FloatField(
        allow_null=True, help_text="Orders are rounded to it; null: any value."
    )
    choices = serializers.ListField(child=serializers.CharField())
    writable = serializers.BooleanField()
    value = ValueField(allow_null=True)
    available = serializers.BooleanField()
    freshness = serializers.ChoiceField(choices=[state.value for state in Freshness])
    observed_at = Time(allow_null=True)
    heard_at = Time(allow_null=True)


class GatewayOfDevice(Described):
    id = serializers.IntegerField()
    name = serializers.CharField()
    vendor = serializers.CharField()


class HardwareOfDevice(Described):
    id = serializers.CharField(required=False)
    name = serializers.CharField(allow_blank=True)


class PlaceOfDevice(Described):
    name = serializers.CharField(allow_blank=True)
    zone = serializers.CharField()
    latitude = serializers.FloatField(required=False, allow_null=True)
    longitude = serializers.FloatField(required=False, allow_null=True)


class HoldShown(Described):
    reason = serializers.CharField(required=False, allow_blank=True)
    held_at = Time()
    held_until = Time(allow_null=True)


class DecisionOfDevice(Described):
    reason = serializers.CharField(allow_blank=True)
    decided_at = Time()


class DeviceShown(Described):
    id = serializers.IntegerField()
    name = serializers.CharField()
    model = serializers.CharField(allow_blank=True)
    vendor_id = serializers.CharField(required=False)
    gateway = GatewayOfDevice()
    hardware = HardwareOfDevice(
        allow_null=True,
        help_text=(
            "Devices of one gateway with the same are one thing, such as channels; null: it is one."
        ),
    )
    place = PlaceOfDevice()
    enabled = serializers.BooleanField()
    freshness = serializers.ChoiceField(choices=[state.value for state in Freshness])
    heard_at = Time(allow_null=True)
    measured_at = Time(allow_null=True)
    rule = serializers.CharField(allow_null=True)
    guard = serializers.CharField(allow_null=True)
    hold = HoldShown(allow_null=True)
    decision = DecisionOfDevice(allow_null=True)
    attributes = AttributeShown(many=True)


class PageOf(Described):
    """A page of a list; `next` is the address of the next page, null on the last."""

    next = serializers.URLField(allow_null=True)


class DevicePage(PageOf):
    results = DeviceShown(many=True)


class GatewayShown(Described):
    id = serializers.IntegerField()
    name = serializers.CharField()
    vendor = serializers.CharField()
    address = serializers.CharField(required=False)
    enabled = serializers.BooleanField()
    has_credential = serializers.BooleanField(required=False)
    asked_at = Time(allow_null=True)
    answered_at = Time(allow_null=True)
    heard_at = Time(allow_null=True, help_text="When one of its devices was heard last.")
    listening_since = Time(
        allow_null=True,
        help_text="Since when it is listened to, if it is: it tells by itself what changes.",
    )
    failures = serializers.IntegerField(help_text="In a row, since it last answered.")
    error = serializers.CharField(required=False, allow_blank=True)
    refused = serializers.BooleanField(help_text="A person must act.")
    retry_at = Time(allow_null=True, help_text="Not asked before.")


class GatewayPage(PageOf):
    results = GatewayShown(many=True)


class AttributeOfDevice(AttributeShown):
    device = serializers.IntegerField()


class AttributePage(PageOf):
    results = AttributeOfDevice(many=True)


class ObservationShown(Described):
    attribute = serializers.IntegerField()
    device = serializers.IntegerField()
    name = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    observed_at = Time()
    value = ValueField()


class SpanShown(Described):
    """What an attribute was in a span of time."""

    attribute = serializers.IntegerField()
    device = serializers.IntegerField()
    name = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    starts_at = Time()
    ends_at = Time()
    mean = serializers.FloatField(
        allow_null=True, help_text="Weighted by time; null where nothing was heard."
    )
    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)
    coverage = serializers.FloatField(
        min_value=0, max_value=1, help_text="The share of the span in which a value was known."
    )
    count = serializers.IntegerField(
        allow_null=True,
        help_text=(
            "Of its observations, from its start up to its end; null where nothing is known, or "
            "where the span divides an hour whose observations were pruned."
        ),
    )
    minutes_on = serializers.FloatField(
        allow_null=True,
        help_text="So long a switch was on; null of what is no switch, and where nothing is known.",
    )


class SeriesShown(Described):
    id = serializers.IntegerField()
    feed = serializers.CharField()
    region = serializers.CharField(required=False, allow_blank=True)
    signal = serializers.CharField()
    unit = serializers.CharField()
    is_replayed = serializers.BooleanField(help_text="It is recorded data of another time.")


class SlotShown(Described):
    starts_at = Time()
    ends_at = Time()
    value = serializers.FloatField()


class ForecastShown(SeriesShown):
    issued_at = Time()
    known_at = Time(help_text="When it was first fetched.")
    ends_at = Time()
    slots = SlotShown(many=True)


class ForecastPage(PageOf):
    results = ForecastShown(many=True)


class MeasurementShown(SeriesShown):
    starts_at = Time()
    ends_at = Time()
    value = serializers.FloatField()
    known_at = Time()


class MeasurementPage(PageOf):
    results = MeasurementShown(many=True)


class DecisionShown(Described):
    id = serializers.IntegerField()
    device = serializers.IntegerField()
    decided_at = Time()
    repeated_at = Time(help_text="When the same was last decided.")
    times = serializers.IntegerField()
    ended_at = Time(allow_null=True, help_text="When something else was decided.")
    decided_by = serializers.ChoiceField(choices=[source.value for source in Source])
    rule = serializers.CharField(allow_blank=True)
    version = serializers.CharField(allow_blank=True, help_text="Of the rule's file.")
    attribute = serializers.CharField(allow_blank=True)
    value = ValueField(allow_null=True, help_text="Null: left alone, or no decision.")
    until = Time(allow_null=True)
    sentence = serializers.CharField()
    problem = serializers.BooleanField(help_text="No decision could be made.")
    plan = serializers.IntegerField(allow_null=True)
    command = serializers.IntegerField(allow_null=True)


class DecisionPage(PageOf):
    results = DecisionShown(many=True)


class Candidate(Described):
    what = serializers.CharField()
    windows = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="[start, end] of each, in seconds since 1970.",
    )
    cost = serializers.FloatField(allow_null=True)


class ExplanationShown(Described):
    id = serializers.IntegerField()
    device = serializers.IntegerField()
    decided_at = Time()
    repeated_at = Time()
    times = serializers.IntegerField()
    decided_by = serializers.ChoiceField(choices=[source.value for source in Source])
    rule = serializers.CharField(allow_blank=True)
    version = serializers.CharField(allow_blank=True)
    is_same_version = serializers.BooleanField(allow_null=True)
    attribute = serializers.CharField(allow_blank=True)
    value = ValueField(allow_null=True)
    sentence = serializers.CharField()
    inputs = serializers.DictField(
        help_text="What it was made from; `others` are the other devices that the rule looks at, "
        "by ID: those that you may see. `past` is there where the rule looks back: by attribute, "
        "how many seconds, and stretches: from when to when, in seconds before the decision, and "
        "the value, or its lowest and its highest."
    )
    is_replayed = serializers.BooleanField(allow_null=True)
    candidates = Candidate(many=True)
    unit = serializers.CharField(allow_blank=True)
    agrees = serializers.BooleanField(
        allow_null=True, help_text="Whether the rule decides the same again; null: not asked."
    )
    problem = serializers.CharField(allow_blank=True)
    command = serializers.DictField(allow_null=True)


class PlanShown(Described):
    id = serializers.IntegerField()
    device = serializers.IntegerField()
    rule = serializers.CharField()
    signal = serializers.CharField(allow_blank=True)
    is_replayed = serializers.BooleanField()
    opens_at = Time()
    deadline = Time()
    windows = serializers.ListField(
        child=serializers.ListField(child=Time()), help_text="[start, end] of each."
    )
    made_at = Time()
    changed_at = Time(allow_null=True)
    changes = serializers.IntegerField()
    delivered_minutes = serializers.FloatField()
    unit = serializers.CharField(allow_blank=True, help_text="Of all costs.")
    predicted = serializers.FloatField(allow_null=True)
    predicted_at_once = serializers.FloatField(allow_null=True)
    settled_at = Time(allow_null=True)
    actual = serializers.FloatField(allow_null=True)
    at_once = serializers.FloatField(allow_null=True)
    ideal = serializers.FloatField(allow_null=True)
    note = serializers.CharField(allow_blank=True)


class PlanPage(PageOf):
    results = PlanShown(many=True)


class JobsShown(Described):
    jobs = serializers.IntegerField()
    settled = serializers.IntegerField()
    delivered = serializers.FloatField(help_text="The share of the minutes asked for.")
    unit = serializers.CharField(allow_blank=True)
    predicted = serializers.FloatField(allow_null=True)
    actual = serializers.FloatField(allow_null=True)
    at_once = serializers.FloatField(allow_null=True)
    ideal = serializers.FloatField(allow_null=True)
    saving = serializers.FloatField(allow_null=True)
    share_of_ideal = serializers.FloatField(allow_null=True)
    changes_of_plan = serializers.IntegerField()
    is_replayed = serializers.BooleanField()


class GuardShown(Described):
    """How often a guard was right; only its rule where nothing was measured."""

    rule = serializers.CharField()
    signal = serializers.CharField(required=False)
    threshold = serializers.FloatField(required=False)
    is_replayed = serializers.BooleanField(required=False)
    hits = serializers.IntegerField(required=False)
    misses = serializers.IntegerField(required=False)
    of_them_late = serializers.IntegerField(required=False)
    false_alarms = serializers.IntegerField(required=False)
    pod = serializers.FloatField(required=False, allow_null=True)
    far = serializers.FloatField(required=False, allow_null=True)
    csi = serializers.FloatField(required=False, allow_null=True)
    lead_minutes = serializers.FloatField(required=False, allow_null=True)


class ScoreShown(Described):
    device = serializers.IntegerField()
    name = serializers.CharField()
    jobs = JobsShown(required=False)
    guards = GuardShown(many=True)


class ScoreCard(Described):
    results = ScoreShown(many=True)


class MoneyShown(Described):
    currency = serializers.CharField()
    amount = serializers.FloatField(help_text="Below 0: what one was paid.")


class UseShown(Described):
    kwh = serializers.FloatField()
    grams_co2 = serializers.FloatField(allow_null=True, help_text="Null: nothing was measured.")
    grams_of_kwh = serializers.FloatField(help_text="Of so many kWh the carbon is known.")
    money = MoneyShown(many=True, help_text="A currency each, never summed up over two.")
    money_of_kwh = serializers.FloatField(help_text="Of so many kWh the price is known.")


class DayShown(UseShown):
    day = serializers.DateField(help_text="By the clock of the home.")


class MonthShown(UseShown):
    month = serializers.RegexField(r"^\d{4}-\d{2}$", help_text="2026-06, by the clock of the home.")


class CostsShown(Described):
    device = serializers.IntegerField()
    name = serializers.CharField()
    measured_by = serializers.ChoiceField(
        choices=["energy", "power"],
        help_text="The counter, or else the power: then what was not heard is missing.",
    )
    is_replayed = serializers.BooleanField(help_text="Carbon or price are of another time.")
    known_since = serializers.DateField(
        allow_null=True, help_text="The first day of this time of which anything is known."
    )
    days = DayShown(many=True, help_text="The oldest first, today the last; none of months.")
    months = MonthShown(
        many=True, help_text="Where months are asked for: the oldest first, this one the last."
    )
    total = UseShown()
    jobs = JobsShown(allow_null=True, help_text="Null: no plan's deadline was in this time.")


class CostPage(PageOf):
    results = CostsShown(many=True)
    total = UseShown(help_text="Of the devices of this page.")


class RunShown(Described):
    id = serializers.IntegerField()
    task = serializers.CharField()
    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in Outcome])
    started_at = Time()
    finished_at = Time(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    counts = serializers.DictField(help_text="What it did, by the task's own words.")
    error = serializers.CharField(required=False, allow_blank=True)


class RunPage(PageOf):
    results = RunShown(many=True)


class ObservationPage(PageOf):
    results = PolymorphicProxySerializer(
        component_name="ObservationOrSpan",
        serializers=[ObservationShown, SpanShown],
        resource_type_field_name=None,
        many=True,
    )
