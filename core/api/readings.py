"""Readings that devices and services push: one, or many at once.

Two ways in: with a token, or signed with the gateway's secret. docs/push.md is for those who send.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, NotFound, ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import Described, problems
from core.api.problems import NOTHING_HERE, problem
from core.api.query import LARGEST_KEY, Key
from core.api.refusals import Conflict, Unfit
from core.api.resource import Json, Resource
from core.models import Gateway
from core.models.access import Right
from core.net.strict_json import parse
from core.readings import Kind
from core.tasks.polling.pushed_items import FIELDS
from core.tasks.receive_readings import (
    DEFAULTS,
    MOST_READINGS,
    GatewayDisabled,
    receive_readings,
)
from core.tasks.signed_messages import Envelope, NotSigned, SentAgain, check_signature, is_id

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class ReadingSent(Described):
    """A reading, or what all readings of a message have in common."""

    device = serializers.CharField(
        required=False, max_length=120, help_text="The device's own ID behind its gateway."
    )
    attribute = serializers.CharField(
        required=False, max_length=120, help_text="Such as `temperature`."
    )
    value = serializers.JSONField(
        required=False,
        help_text="A number, true or false, or a text; null: there is no value now.",
    )
    time = serializers.JSONField(
        required=False,
        help_text="When it was measured: `2026-11-26T16:00:00Z`, or seconds since 1970; else now.",
    )
    unit = serializers.CharField(
        required=False, max_length=20, help_text="Of this value; converted where that can be."
    )
    kind = serializers.ChoiceField(
        required=False,
        choices=[kind.value for kind in Kind],
        help_text="Of a new attribute; else by the value: number, boolean or text.",
    )
    minimum = serializers.FloatField(required=False, help_text="Of a new attribute.")
    maximum = serializers.FloatField(required=False, help_text="Of a new attribute.")
    choices = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Of a new attribute."
    )
    interval_seconds = serializers.FloatField(
        required=False,
        help_text="How often the device pushes: silent for 2.5 times as long, it is stale.",
    )
    name = serializers.CharField(
        required=False, max_length=120, help_text="Of a device that is new."
    )
    model = serializers.CharField(
        required=False, max_length=120, help_text="Of a device that is new."
    )


class MessageSent(ReadingSent):
    """One reading, or `readings` with what they have in common beside it."""

    readings = ReadingSent(many=True, required=False, help_text=f"At most {MOST_READINGS:,}.")


class TokenMessageSent(MessageSent):
    gateway = Key(required=False, help_text="Needed unless the token is for one gateway alone.")


class RefusalShown(Described):
    index = serializers.IntegerField(help_text="Its place in `readings`, from 0.")
    error = serializers.CharField()


class ReceivedShown(Described):
    stored = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Stored before.")
    without_value = serializers.IntegerField(help_text="Those whose value is null.")
    refused = RefusalShown(many=True)
    new_devices = serializers.ListField(child=serializers.IntegerField())


ONE = OpenApiExample(
    "One reading",
    {"device": "cellar", "attribute": "temperature", "value": 11.5, "unit": "°C"},
    request_only=True,
)
MANY = OpenApiExample(
    "Several of one device",
    {
        "device": "cellar",
        "interval_seconds": 600,
        "readings": [
            {"attribute": "temperature", "value": 11.5, "unit": "°C"},
            {"attribute": "humidity", "value": 71, "unit": "%", "time": "2026-11-26T16:00:00Z"},
        ],
    },
    request_only=True,
)
ANSWER = OpenApiExample(
    "One of two refused",
    {
        "stored": 1,
        "duplicates": 0,
        "without_value": 0,
        "refused": [{"index": 1, "error": "'warm' is no number"}],
        "new_devices": [],
    },
    response_only=True,
    status_codes=["207"],
)
ANSWERS: dict[Any, Any] = {200: ReceivedShown, 207: ReceivedShown, **problems(404, 409, 422)}
DESCRIPTION = (
    "Each reading is stored, known already, or refused with a sentence: 200 where none was "
    "refused, 207 where some were, 422 where all were. Sent again with the same times, readings "
    "are duplicates and nothing is stored twice."
)


class Readings(Resource):
    """With a token that has the right `ingest`, for a gateway that it reaches."""

    right_to_write: ClassVar[Right] = Right.INGEST

    @extend_schema(
        operation_id="push_readings",
        summary="Push readings",
        description=DESCRIPTION,
        request=TokenMessageSent,
        responses=ANSWERS,
        examples=[ONE, MANY, ANSWER],
    )
    def post(self, request: Request) -> Any:
        body = _object(request.data)
        gateway_pk = self._gateway(body.pop("gateway", None))
        defaults, readings = _parts(body)
        return _received(gateway_pk, readings, defaults, access=self.access)

    def _gateway(self, stated: object) -> int:
        """Return the gateway that is stated, or else the only one of the token."""
        reached = self.access.gateways
        if stated is None:
            if reached is None or len(reached) != 1:
                raise Unfit({"gateway": "Say which: the token is not for one gateway alone."})
            return next(iter(reached))
        if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
            raise Unfit({"gateway": "It must be a number of a gateway."})
        if stated > LARGEST_KEY or (reached is not None and stated not in reached):
            raise NotFound(NOTHING_HERE)
        return stated


class SignedReadings(Resource):
    """Without a log-in: the message is signed with the gateway's secret."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="push_signed_readings",
        summary="Push readings in a signed message",
        description=f"{DESCRIPTION} Signed as Standard Webhooks has it: see docs/push.md.",
        auth=[],
        parameters=[
            OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True) for name in HEADERS
        ],
        request=MessageSent,
        responses=ANSWERS,
        examples=[ONE, MANY, ANSWER],
    )
    def post(self, request: Request, pk: int) -> Any:
        envelope, body = (
            Envelope(*(request.headers.get(name, "") for name in HEADERS)),
            request.body,
        )
        try:
            if not is_id(envelope.message_id):
                raise NotSigned
            check_signature(pk, envelope, body)
        except NotSigned as error:
            raise AuthenticationFailed(str(error)) from error
        try:
            sent = parse(body)
        except ValueError:
            raise ParseError("The body is no JSON that can be read.") from None
        defaults, readings = _parts(_object(sent))
        return _received(pk, readings, defaults, envelope=envelope)

    def get_authenticate_header(self, request: Request) -> str:
        return 'Signature realm="api"'


def _object(sent: object) -> Json:
    if not isinstance(sent, Mapping):
        raise Unfit({"body": "It must be an object."})
    return dict(sent)


def _parts(body: Json) -> tuple[Json, list[object]]:
    """Return what all readings have in common, and the readings. Raises Unfit."""
    if "readings" not in body:
        _check_names(body, FIELDS)
        return {}, [body]
    readings = body.pop("readings")
    _check_names(body, DEFAULTS)
    if not isinstance(readings, list) or len(readings) > MOST_READINGS:
        raise Unfit({"readings": f"It must be a list of at most {MOST_READINGS:,}."})
    return body, readings


def _check_names(body: Json, known: tuple[str, ...]) -> None:
    if unknown := body.keys() - set(known):
        sentence = f"There is no such field here. Known: {', '.join(known)}."
        raise Unfit(dict.fromkeys(sorted(unknown)[:20], sentence))


def _received(gateway_pk: int, readings: list[object], defaults: Json, **how: Any) -> Any:
    try:
        received = receive_readings(gateway_pk, readings, defaults, **how)
    except Gateway.DoesNotExist:
        raise NotFound(NOTHING_HERE) from None
    except (GatewayDisabled, SentAgain) as error:
        raise Conflict(str(error)) from error
    if received.is_nothing:
        errors = [
            {"field": f"readings.{refusal.index}", "detail": refusal.error}
            for refusal in received.refused
        ]
        return problem(422, f"Nothing was stored: {errors[0]['detail']}.", errors=errors)
    return Response(received.as_json(), status=207 if received.refused else 200)
