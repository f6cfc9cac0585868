"""Rules: which there are and what options they have, and which one decides for a device."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from core import rules
from core.api.body import Body, parse_body
from core.api.described import Described, ValueField, problems
from core.api.problems import NOTHING_HERE
from core.api.refusals import ChangedMeanwhile, MustSayWhatWasSeen, Unprocessable
from core.api.rendering import JsonRenderer
from core.api.resource import Json, Resource, etag_of
from core.models import Device
from core.models.access import Right
from core.serializers import anonymous_rule_json, device_rule_json, rule_json
from core.tasks import gateways

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of what was read, in place of `version`.",
)
SEEN = (
    "Say which version you saw, by `version` or `If-Match`: where somebody changed the device "
    "since, the answer is 412 and nothing is saved."
)
EXAMPLE = OpenApiExample(
    "Charge by seven",
    {
        "rule": "cleanest_hours",
        "options": {"minutes": 180, "before": "07:00", "watts": 7200},
        "version": 0,
    },
    request_only=True,
)


class OptionShown(Described):
    name = serializers.CharField()
    kind = serializers.ChoiceField(
        choices=["boolean", "number", "text", "device"],
        help_text="device: the ID or the name of another device; 0 is the device itself.",
    )
    default = ValueField()
    unit = serializers.CharField(allow_blank=True)
    help = serializers.CharField(allow_blank=True)
    choices = serializers.ListField(child=serializers.CharField())


class RuleShown(Described):
    name = serializers.CharField()
    is_guard = serializers.BooleanField(help_text="Whether it can stand beside a rule, before it.")
    problem = serializers.CharField(
        required=False, allow_blank=True, help_text="Why it does not load; empty if it does."
    )
    options = OptionShown(many=True)


class RuleList(Described):
    results = RuleShown(many=True)


class RuleOfDevice(Described):
    device = serializers.IntegerField()
    rule = serializers.CharField(allow_null=True)
    options = serializers.DictField(child=ValueField(), help_text="All of them, with defaults.")
    problem = serializers.CharField(allow_blank=True, required=False)
    version = serializers.IntegerField(help_text="Of the device; it grows with each change.")


class ChosenRule(Body):
    rule = serializers.CharField(allow_null=True, max_length=40, help_text="null: none decides.")
    options = serializers.DictField(
        default=dict, child=ValueField(allow_null=True), help_text="Others have their defaults."
    )
    version = serializers.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, help_text="Of what was read."
    )


class Rules(Resource):
    @extend_schema(
        operation_id="list_rules",
        summary="Rules, and their options",
        responses=RuleList,
    )
    def get(self, request: Request) -> Response:
        shown = [rule_json(name) for name in rules.names()]
        if not self.has_log_in:
            shown = [anonymous_rule_json(rule) for rule in shown]
        return Response({"results": shown})


class DeviceRule(Resource):
    """The rule of a device; the guard beside it is one too."""

    right_to_write: ClassVar[Right] = Right.ADMIN
    guard: ClassVar[bool] = False

    def read(self, pk: int) -> Response:
        return Response(self._shown(self.device(pk, Right.READ)))

    def write(self, request: Request, pk: int) -> Response:
        device = self.device(pk, Right.ADMIN)
        chosen = parse_body(ChosenRule, request)
        version = self._version_seen(device, request, chosen.get("version"))
        try:
            device = gateways.set_rule(
                device.pk,
                chosen["rule"] or "",
                chosen["options"],
                guard=self.guard,
                version=version,
                access=self.access,
            )
        except gateways.VersionConflict as error:
            raise ChangedMeanwhile(str(error)) from error
        except ValueError as error:
            raise Unprocessable(str(error)) from error
        except Device.DoesNotExist:
            raise NotFound(NOTHING_HERE) from None
        return Response(self._shown(device), headers={"ETag": self._etag(device)})

    def _version_seen(self, device: Device, request: Request, version: int | None) -> int:
        """Return the version that this changes. Raises MustSayWhatWasSeen, ChangedMeanwhile."""
        etag = request.headers.get("If-Match")
        if version is None and not etag:
            raise MustSayWhatWasSeen(
                "Say what you saw: `version`, or the ETag in If-Match, so that nobody's change is "
                "overwritten unseen."
            )
        if etag and etag.strip() not in ("*", self._etag(device)):
            raise ChangedMeanwhile(
                f"{device} was changed since that ETag. Nothing of yours was saved."
            )
        return device.version if version is None else version

    def _etag(self, device: Device) -> str:
        return etag_of(JsonRenderer().render(self._shown(device)))

    def _shown(self, device: Device) -> Json:
        shown = device_rule_json(device, self.guard)
        return shown if self.has_log_in else anonymous_rule_json(shown)


class RuleOf(DeviceRule):
    @extend_schema(
        operation_id="read_device_rule",
        summary="The rule that decides for a device, with its options",
        responses=RuleOfDevice,
    )
    def get(self, request: Request, pk: int) -> Response:
        return self.read(pk)

    @extend_schema(
        operation_id="set_device_rule",
        summary="Choose the rule that decides for a device",
        description=SEEN,
        parameters=[IF_MATCH],
        request=ChosenRule,
        responses={200: RuleOfDevice, **problems(412, 422, 428)},
        examples=[EXAMPLE],
    )
    def put(self, request: Request, pk: int) -> Response:
        return self.write(request, pk)


class GuardOf(DeviceRule):
    guard = True

    @extend_schema(
        operation_id="read_device_guard",
        summary="The guard of a device, which goes before its rule",
        responses=RuleOfDevice,
    )
    def get(self, request: Request, pk: int) -> Response:
        return self.read(pk)

    @extend_schema(
        operation_id="set_device_guard",
        summary="Choose the guard of a device",
        description=SEEN,
        parameters=[IF_MATCH],
        request=ChosenRule,
        responses={200: RuleOfDevice, **problems(412, 422, 428)},
    )
    def put(self, request: Request, pk: int) -> Response:
        return self.write(request, pk)
