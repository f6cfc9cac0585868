"""Events: every change, once, in order. Read in pages, waited for, or followed without end."""

from typing import Any, ClassVar

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from core.api.described import Described, problems
from core.api.query import LARGEST_KEY, Key, Query
from core.api.refusals import Full, Gone
from core.api.rendering import JsonRenderer
from core.api.resource import Resource
from core.live.handshake import address_of
from core.live.log import EventRow
from core.live.sessions import LogIn
from core.live.streams import LongPoll, ServerSentEvents, Stream, page_text
from core.live.subscriber import ALL, CHANGES, SerializedEvent, Topic
from core.models import Event
from core.models.connections import release_connection
from core.models.event import EventKind
from core.tasks.orders.outcome import LONGEST_WAIT_SECONDS

STREAM = "text/event-stream"


class EventQuery(Query):
    after = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_KEY,
        help_text="The events after this one: `last` of the answer before. Without: those from now "
        "on.",
    )
    wait = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=LONGEST_WAIT_SECONDS,
        help_text="Seconds to wait for an event if there is none. The answer may come sooner.",
    )
    limit = serializers.IntegerField(
        default=100, min_value=1, max_value=1000, help_text="Events of a page at most."
    )
    device = Key(required=False, help_text="Of this device alone.")
    gateway = Key(required=False, help_text="Of this gateway alone.")
    readings = serializers.ChoiceField(
        default="true",
        choices=["true", "false"],
        help_text="false: without readings, which are most of the events.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        about = [name for name in ("device", "gateway") if name in attrs]
        if len(about) + (attrs["readings"] == "false") > 1:
            raise ValidationError("Name one of device, gateway and readings=false.")
        return attrs


class EventShown(Described):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=[kind.value for kind in EventKind])
    device = serializers.IntegerField(allow_null=True)
    gateway = serializers.IntegerField(allow_null=True)
    body = serializers.DictField(help_text="By kind, as docs/socket.md has it.")


class EventPage(Described):
    results = EventShown(many=True)
    last = serializers.IntegerField(help_text="`after` of the next request.")


class EventStreamRenderer(BaseRenderer):
    """Names what a stream is of; it is never rendered."""

    media_type = STREAM
    format = "stream"


class Events(Resource):
    query: ClassVar[type[Query]] = EventQuery
    renderer_classes = (JsonRenderer, EventStreamRenderer)

    @extend_schema(
        operation_id="list_events",
        summary="What happened after an event: at once, waited for, or as a stream",
        description=(
            "With `Accept: text/event-stream` the answer does not end: Server-Sent Events, from "
            "`Last-Event-ID` or `after` on, else from now. An event `over` in it says that events "
            "are missing: read again what you know, and go on. Events are kept for two hours."
        ),
        parameters=[
            EventQuery,
            OpenApiParameter(
                "Last-Event-ID",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="Of a stream, in place of `after`. Browsers send it by themselves.",
            ),
        ],
        responses={
            (200, "application/json"): EventPage,
            (200, STREAM): OpenApiResponse({"type": "string"}),
            **problems(410, 503),
        },
        examples=[
            OpenApiExample(
                "A command was confirmed",
                {
                    "results": [
                        {
                            "id": 812,
                            "kind": "command",
                            "device": 1,
                            "gateway": 1,
                            "body": {"id": 5, "attribute": 3, "value": True, "state": "confirmed"},
                        }
                    ],
                    "last": 812,
                },
                response_only=True,
                media_type="application/json",
            )
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        if request.accepted_renderer.media_type == STREAM:
            return self._stream(self._last_event_id(request))
        after = self.wanted.get("after")
        newest = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        if after is None:
            after = newest
        events = self._events(after, newest)
        if not events and self.wanted["wait"] and self._asgi:
            poll = self._subscribed(LongPoll, after)
            poll.seconds = float(self.wanted["wait"])
            if _has_room(poll):
                return _streamed(poll, "application/json")
        if len(events) == self.wanted["limit"]:
            newest = events[-1].id
        return _page([self._text(event) for event in events], max(newest, after))

    @property
    def _asgi(self) -> ASGIRequest | None:
        """The request, if its server lets answers wait without a thread."""
        request = self.request._request
        return request if isinstance(request, ASGIRequest) else None

    def _stream(self, after: int | None) -> HttpResponseBase:
        if self._asgi is None:
            raise Full("Streams need an ASGI server, as `make serve` starts.")
        stream = self._subscribed(ServerSentEvents, after)
        if not _has_room(stream):
            raise Full("Too many streams: try again later.")
        response = _streamed(stream, STREAM)
        # A proxy that collects an answer would hold events back.
        response.headers["X-Accel-Buffering"] = "no"
        return response

    def _last_event_id(self, request: Request) -> int | None:
        written = request.headers.get("Last-Event-ID", "")
        if not written:
            return self.wanted.get("after")
        if not (written.isascii() and written.isdecimal()) or int(written[:20]) > LARGEST_KEY:
            raise ValidationError({"Last-Event-ID": "It must be the id of an event."})
        return int(written)

    def _events(self, after: int, newest: int) -> list[SerializedEvent]:
        """Read the page after that event. Raises Gone where some were pruned, or it never was."""
        found = self._visible(Event.objects.after(after).filter(pk__lte=newest))
        body = Cast("body", TextField())
        rows = found.values_list("pk", "kind", "device", "gateway", body)
        events = [SerializedEvent.of(EventRow(*row)) for row in rows[: self.wanted["limit"]]]
        # After the rows: the log may be pruned between the two queries.
        oldest = Event.objects.order_by("pk").values_list("pk", flat=True).first()
        if after > newest:
            raise Gone("That event is newer than the newest. Read all again, and begin anew.")
        if after < newest and (oldest is None or oldest > after + 1):
            raise Gone("Events after that one are not kept. Read all again, and begin anew.")
        return events

    def _visible(self, events: QuerySet[Event]) -> QuerySet[Event]:
        """Leave out what was not asked for, or may not be seen; as Subscriber.matches() does."""
        wanted, access = self.wanted, self.access
        if "device" in wanted:
            events = events.filter(device=wanted["device"])
        if "gateway" in wanted:
            events = events.filter(gateway=wanted["gateway"])
        if wanted["readings"] == "false":
            events = events.exclude(kind=EventKind.READINGS)
        if access.gateways is not None:
            events = events.filter(Q(gateway=None) | Q(gateway__in=access.gateways))
        if access.devices is not None:
            events = events.filter(Q(device=None) | Q(device__in=access.devices))
        return events

    def _subscribed(self, kind: type[Stream], after: int | None) -> Any:
        topics = {ALL if self.wanted["readings"] == "true" else CHANGES}
        for name in ("device", "gateway"):
            if name in self.wanted:
                topics = {Topic(name, self.wanted[name])}
        address = address_of(self._asgi) if self._asgi else ""
        return kind(self._log_in(), address, topics, after)

    def _log_in(self) -> LogIn:
        """Return what is looked at again while it is open."""
        user, token, access = self.request.user, self.request.auth, self.access
        if not user.is_authenticated:
            return LogIn()
        if token is not None:
            return LogIn(
                user_pk=user.pk, gateways=access.gateways, token=token.pk, devices=access.devices
            )
        session = self.request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        return LogIn(session, user.pk, user.password, access.gateways)

    def _text(self, event: SerializedEvent) -> str:
        return event.text if self.has_log_in else event.public


def _has_room(stream: Stream) -> bool:
    # In the loop, where sockets come and go; its thread waits.
    return async_to_sync(stream.has_room)()


def _streamed(stream: Stream, media_type: str) -> HttpResponseBase:
    # Nothing holds a thread or a connection while it waits: the loop iterates over it.
    release_connection()
    return StreamingHttpResponse(aiter(stream), content_type=media_type)


def _page(events: list[str], last: int) -> HttpResponse:
    return HttpResponse(page_text(events, last), content_type="application/json")
