"""Runs of the scheduled tasks."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import RunPage, RunShown
from core.api.pagination import NEWEST_FIRST, ListQuery
from core.api.query import Moment
from core.api.resource import Json, Resource
from core.models import Run
from core.models.access import Right
from core.models.run import Outcome
from core.serializers import public_run_json, run_json


class RunQuery(ListQuery):
    task = serializers.CharField(required=False, max_length=40, help_text="Such as poll.")
    outcome = serializers.ChoiceField(
        required=False, choices=[outcome.value for outcome in Outcome]
    )
    since = Moment(required=False, help_text="Started after this time.")
    order = serializers.ChoiceField(default="-id", choices=list(NEWEST_FIRST))


class RunResource(Resource):
    def shown(self, runs: list[Run]) -> list[Json]:
        # Errors may quote anything, also of gateways that somebody may not see.
        show = run_json if self.access.may_everywhere(Right.ADMIN) else public_run_json
        return [show(run) for run in runs]


class RunList(RunResource):
    query = RunQuery

    @extend_schema(
        operation_id="list_runs",
        summary="Runs of the scheduled tasks",
        description="Only an administrator sees their errors.",
        parameters=[RunQuery],
        responses=RunPage,
    )
    def get(self, request: Request) -> Response:
        conditions = self.conditions(task="task", outcome="outcome", since="started_at__gt")
        found = Run.objects.until(timezone.now()).filter(**conditions)
        return self.page(found, NEWEST_FIRST[self.wanted["order"]], self.shown)


class OneRun(RunResource):
    @extend_schema(
        operation_id="read_run",
        summary="One run",
        description="Only an administrator sees its errors.",
        responses=RunShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(self.shown([self.one(Run.objects.all(), pk=pk)])[0])
