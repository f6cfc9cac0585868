"""Device commands: order something, once, and see what becomes of it."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import idempotency
from core.api.body import Body, parse_body
from core.api.described import Described, PageOf, Time, ValueField, problems
from core.api.pagination import ListQuery
from core.api.problems import NOTHING_HERE
from core.api.query import Key, Query
from core.api.refusals import InProgress, Unprocessable
from core.api.resource import Json, Resource
from core.live import threads
from core.models import Attribute, Device, DeviceCommand
from core.models.access import Right
from core.models.device_command import OPEN, State
from core.readings import Source, Unacceptable
from core.serializers import anonymous_command_json, command_ledger_json
from core.tasks.orders import send
from core.tasks.orders.at_once import send_at_once
from core.tasks.orders.once import KeyReused, StillInProgress, answered, order_once
from core.tasks.orders.outcome import LONGEST_WAIT_SECONDS, wait_for_outcome

DAY_MINUTES = 24 * 60


class Step(Described):
    at = Time()
    state = serializers.CharField(help_text="Or `unknown`: whether the vendor got it is not clear.")
    error = serializers.CharField(required=False, allow_blank=True)


class CommandShown(Described):
    id = serializers.IntegerField()
    attribute = serializers.IntegerField()
    device = serializers.IntegerField()
    name = serializers.CharField(help_text="Of the attribute.")
    value = ValueField(allow_null=True)
    state = serializers.ChoiceField(choices=[state.value for state in State])
    open = serializers.BooleanField(help_text="Whether the outcome is still to come.")
    source = serializers.CharField()  # type: ignore[assignment]  # a field has one too
    user = serializers.IntegerField(required=False, allow_null=True)
    reason = serializers.CharField(required=False, allow_blank=True)
    error = serializers.CharField(required=False, allow_blank=True)
    requested_at = Time()
    sent_at = Time(allow_null=True)
    accepted_at = Time(allow_null=True)
    finished_at = Time(allow_null=True)
    expires_at = Time(help_text="It is not sent after this.")
    reverts_at = Time(allow_null=True, help_text="When the device goes back by its own timer.")
    steps = Step(many=True)


class CommandPage(PageOf):
    results = CommandShown(many=True)


class WaitQuery(Query):
    wait = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=LONGEST_WAIT_SECONDS,
        help_text="Seconds to wait for the outcome. The answer may come sooner, and without it.",
    )


class CommandQuery(ListQuery):
    device = Key(required=False, help_text="Of this device.")
    attribute = Key(required=False, help_text="Of this attribute.")
    state = serializers.ChoiceField(
        required=False, choices=[state.value for state in State], help_text="In this state."
    )
    open = serializers.ChoiceField(
        required=False, choices=["true", "false"], help_text="Whose outcome is still to come."
    )


class Order(Body):
    device = Key()
    attribute = serializers.CharField(max_length=100, help_text="Its name, such as `on`.")
    value = ValueField(help_text="As the attribute has it: true, 21.5 or a text.")
    for_minutes = serializers.FloatField(
        required=False,
        min_value=0.1,
        max_value=DAY_MINUTES,
        help_text="The device then goes back by itself, if it has a timer.",
    )


class CommandResource(Resource):
    def commands(self) -> QuerySet[DeviceCommand]:
        found = DeviceCommand.objects.filter(attribute__device__in=self.devices())
        return found.select_related("attribute")

    def shown(self, commands: Iterable[DeviceCommand]) -> list[Json]:
        bodies = [command_ledger_json(command) for command in commands]
        return bodies if self.has_log_in else [anonymous_command_json(body) for body in bodies]


class CommandList(CommandResource):
    def query_of(self, request: Request) -> type[Query]:
        return WaitQuery if request.method == "POST" else CommandQuery

    @extend_schema(
        operation_id="list_commands",
        summary="Device commands, the newest first",
        parameters=[CommandQuery],
        responses=CommandPage,
    )
    def get(self, request: Request) -> Response:
        conditions = self.conditions(
            device="attribute__device", attribute="attribute", state="state"
        )
        found = self.commands().filter(**conditions)
        if "open" in self.wanted:
            is_open = Q(state__in=OPEN)
            found = found.filter(is_open if self.wanted["open"] == "true" else ~is_open)
        return self.page(found, ("-pk",), self.shown)

    @extend_schema(
        operation_id="order",
        summary="Order a device to do something",
        description=(
            "The command is stored, sent at once, and read back before it is called `confirmed`. "
            "Rules then leave the device alone for a while, as after a change by hand."
        ),
        parameters=[WaitQuery, idempotency.PARAMETER],
        request=Order,
        responses={201: CommandShown, **problems(404, 409, 422)},
        examples=[
            OpenApiExample(
                "Switch on",
                {"device": 1, "attribute": "on", "value": True},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        order = parse_body(Order, request)
        key, owner = idempotency.key_of(request), idempotency.owner_of(request)
        attribute = self._attribute(order)
        if not key:
            command_pk, is_new, answer = self._commit(attribute, order).pk, True, None
        else:
            try:
                command_pk, is_new, answer = order_once(
                    owner, key, {"order": order}, lambda: self._commit(attribute, order)
                )
            except KeyReused as error:
                raise Unprocessable(str(error)) from error
            except StillInProgress as error:
                raise InProgress(str(error)) from error
        if is_new:
            transaction.on_commit(lambda: threads.in_background(send_at_once, [command_pk]))
        if answer is None:
            wait_for_outcome(command_pk, self.wanted["wait"])
            answer = self._answer(command_pk)
            if key:
                answered(owner, key, answer)
        location = reverse("api_command", args=[command_pk])
        headers = {"Location": request.build_absolute_uri(location)}
        if not is_new:
            headers[idempotency.REPLAYED] = "true"
        return Response(answer, status=201, headers=headers)

    def _attribute(self, order: Json) -> Attribute:
        """Return what is to be set, if it is there and may be set by who asks."""
        device = self.device(order["device"], Right.CONTROL)
        for attribute in device.attributes.all():
            if attribute.name == order["attribute"]:
                return attribute
        raise Unprocessable(f"{device} has no attribute {order['attribute']}.")

    def _commit(self, attribute: Attribute, order: Json) -> DeviceCommand:
        minutes = order.get("for_minutes")
        try:
            return send.order(
                attribute.pk,
                order["value"],
                source=Source.HUMAN,
                reason=self._reason(),
                user=self.request.user,  # type: ignore[arg-type]  # who may control has a log-in
                revert_after=timedelta(minutes=minutes) if minutes else None,
            )
        except Unacceptable as error:
            raise Unprocessable(f"{error}.") from error
        except (Attribute.DoesNotExist, Device.DoesNotExist):
            raise NotFound(NOTHING_HERE) from None

    def _reason(self) -> str:
        by = f"Ordered through the API by {self.request.user}"
        return f"{by} with {self.request.auth}" if self.request.auth else by

    def _answer(self, pk: int) -> Json:
        command = DeviceCommand.objects.select_related("attribute").get(pk=pk)
        return command_ledger_json(command)


class OneCommand(CommandResource):
    query: ClassVar[type[Query]] = WaitQuery

    @extend_schema(
        operation_id="read_command",
        summary="One device command, and every step it took",
        parameters=[WaitQuery],
        responses=CommandShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        self.one(self.commands(), pk=pk)
        wait_for_outcome(pk, self.wanted["wait"])
        command: Any = self.one(self.commands(), pk=pk)
        return Response(self.shown([command])[0])
