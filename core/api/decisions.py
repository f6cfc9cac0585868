"""Decisions: what was decided, from what, the plans they follow, and how those came out."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import (
    DecisionPage,
    ExplanationShown,
    PlanPage,
    PlanShown,
    ScoreCard,
)
from core.api.pagination import NEWEST_FIRST, ListQuery
from core.api.query import Key, Moment, Query
from core.api.resource import Json, Resource
from core.models import Plan, Receipt
from core.models.receipt import ReceiptQuerySet
from core.readings import Source
from core.serializers import anonymous_receipt_json, plan_json, receipt_json
from core.tasks.decisions.verdicts import OTHERS_PROBLEM
from core.tasks.explain import explain
from core.tasks.scorecard import scores

DEADLINES = {"-deadline": ("-deadline", "-pk"), "deadline": ("deadline", "pk")}
MOST_DAYS = 3650


class DecisionQuery(ListQuery):
    device = Key(required=False, help_text="For this device.")
    decided_by = serializers.ChoiceField(
        required=False, choices=[source.value for source in Source], help_text="Who won."
    )
    current = serializers.BooleanField(
        required=False, help_text="Those that hold now, or those that are over."
    )
    problem = serializers.BooleanField(
        required=False, help_text="Where no decision could be made, or where one was."
    )
    since = Moment(required=False, help_text="Decided after this time.")
    until = Moment(required=False, help_text="Decided at this time or before.")
    order = serializers.ChoiceField(default="-id", choices=list(NEWEST_FIRST))


class PlanQuery(ListQuery):
    device = Key(required=False, help_text="Of this device.")
    settled = serializers.BooleanField(
        required=False, help_text="Those whose costs were measured, or are not yet."
    )
    since = Moment(required=False, help_text="With a deadline after this time.")
    until = Moment(required=False, help_text="With a deadline at this time or before.")
    order = serializers.ChoiceField(default="-deadline", choices=list(DEADLINES))


class ScoreQuery(Query):
    device = Key(required=False, help_text="This device only.")
    days = serializers.IntegerField(
        default=30, min_value=1, max_value=MOST_DAYS, help_text="Back from now."
    )


class DecisionResource(Resource):
    def decisions(self) -> ReceiptQuerySet:
        return Receipt.objects.filter(device__in=self.devices())


class DecisionList(DecisionResource):
    query = DecisionQuery

    @extend_schema(
        operation_id="list_decisions",
        summary="What was decided",
        description="The same decision made again counts up `times`.",
        parameters=[DecisionQuery],
        responses=DecisionPage,
    )
    def get(self, request: Request) -> Response:
        conditions = self.conditions(
            device="device",
            decided_by="voice",
            current="ended_at__isnull",
            problem="problem",
            since="decided_at__gt",
            until="decided_at__lte",
        )
        # What it was made from is long, and told one by one.
        found = self.decisions().filter(**conditions).defer("inputs", "choice")
        return self.page(found, NEWEST_FIRST[self.wanted["order"]], self.shown)

    def shown(self, receipts: list[Receipt]) -> list[Json]:
        bodies = [receipt_json(receipt) for receipt in receipts]
        return bodies if self.has_log_in else [anonymous_receipt_json(body) for body in bodies]


class OneDecision(DecisionResource):
    needs_log_in = True

    @extend_schema(
        operation_id="explain_decision",
        summary="One decision, explained",
        description=(
            "What it was made from, what else was possible, and whether the rule decides the same "
            "again: as `manage.py explain --json`. Needs a log-in."
        ),
        responses=ExplanationShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        body = explain(self.one(self.decisions().only("pk"), pk=pk).pk).as_json()
        return Response(self._seen(body))

    def _seen(self, body: Json) -> Json:
        """Leave out what other devices told that may not be seen, and what is said of it."""
        named = body["inputs"].get("others", {})
        seen = set(self.devices().filter(pk__in=named).values_list("pk", flat=True))
        others = {pk: other for pk, other in named.items() if int(pk) in seen}
        if len(others) == len(named):
            return body
        # Of a time, perhaps, when all who saw the device saw the others too.
        said = {"sentence": OTHERS_PROBLEM, "problem": body["problem"] and OTHERS_PROBLEM}
        return body | said | {"inputs": body["inputs"] | {"others": others}}


class PlanList(DecisionResource):
    query = PlanQuery

    @extend_schema(
        operation_id="list_plans",
        summary="Jobs of devices: when they run, and what that cost",
        description="",
        parameters=[PlanQuery],
        responses=PlanPage,
    )
    def get(self, request: Request) -> Response:
        found, wanted = Plan.objects.filter(device__in=self.devices()), self.wanted
        if "settled" in wanted:
            found = found.filter(settled_at__isnull=not wanted["settled"])
        conditions = self.conditions(device="device", since="deadline__gt", until="deadline__lte")
        return self.page(
            found.filter(**conditions),
            DEADLINES[wanted["order"]],
            lambda plans: [plan_json(plan) for plan in plans],
        )


class OnePlan(DecisionResource):
    @extend_schema(
        operation_id="read_plan", summary="One plan", description="", responses=PlanShown
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(plan_json(self.one(Plan.objects.filter(device__in=self.devices()), pk=pk)))


class Scores(DecisionResource):
    query = ScoreQuery

    @extend_schema(
        operation_id="read_scorecard",
        summary="What devices saved, and how often their guards were right",
        description="As `manage.py scorecard --json`.",
        parameters=[ScoreQuery],
        responses=ScoreCard,
    )
    def get(self, request: Request) -> Response:
        devices = self.devices().filter(**self.conditions(device="pk")).select_related("gateway")
        found = scores(list(devices), timezone.now(), self.wanted["days"])
        return Response({"results": [score.as_json() for score in found]})
