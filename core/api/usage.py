"""What a token has used, by day and address."""

from datetime import timedelta

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import Described, problems
from core.api.query import Query
from core.api.resource import Resource
from core.models import Token
from core.tasks import usage


class UsageQuery(Query):
    days = serializers.IntegerField(
        default=31, min_value=1, max_value=400, help_text="How many days, with today."
    )


class UsageRow(Described):
    day = serializers.DateField(help_text="In UTC.")
    route = serializers.CharField(help_text="Method and address, without numbers.")
    requests = serializers.IntegerField()


class UsageAnswer(Described):
    results = UsageRow(many=True)


class UsageOf(Resource):
    """The token that asks, whatever it may do."""

    permission_classes = ()
    query = UsageQuery

    @extend_schema(
        operation_id="usage",
        summary="What the token that asks has used",
        parameters=[UsageQuery],
        responses={200: UsageAnswer, **problems(404)},
    )
    def get(self, request: Request) -> Response:
        if not isinstance(request.auth, Token):
            raise NotFound("Only tokens are counted.")
        since = timezone.now().date() - timedelta(days=self.wanted["days"] - 1)
        return Response({"results": usage.of_token(request.auth, since)})
