"""The socket's description: AsyncAPI 3, of the same things as the API's.

The document is about the server: it sends what a client hears, and receives what a client says.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.resource import Resource
from core.api.schema import described
from core.live.actions import LONGEST_HOLD_MINUTES
from core.live.consumer import LARGEST_MESSAGE, MOST_TOPICS, VERSION
from core.live.protocol import LONGEST_REF
from core.models.event import EventKind

Json = dict[str, Any]

KEY = {"type": "integer", "minimum": 1}
EVENT_ID = {"type": "integer", "minimum": 0}
VALUE = {"type": ["number", "boolean", "string"]}
NOTHING: Json = {"type": "object", "maxProperties": 0}


def thing(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def exactly(**members: Any) -> Json:
    """Describe an object that has these members, all of them."""
    return {"type": "object", "required": list(members), "properties": members}


def answer(**members: Any) -> Json:
    """Describe an answer, which repeats the `ref` of the message that asked, if it had one."""
    shown = exactly(**members)
    return shown | {"properties": {**members, "ref": thing("Reference")}}


def said(verb: str, body: Json) -> Json:
    """Describe a message of a client: one verb, and a `ref` if it wants one."""
    return answer(**{verb: body}) | {"additionalProperties": False}


KEYS = {"oneOf": [KEY, {"type": "array", "items": KEY, "maxItems": MOST_TOPICS}]}
TOPICS = exactly(
    to={
        "oneOf": [
            {"enum": ["all", "changes"]},
            exactly(device=KEYS) | {"additionalProperties": False},
            exactly(gateway=KEYS) | {"additionalProperties": False},
        ]
    }
)

# Payload and summary of each message, by its name.
SENT: dict[str, tuple[Json, str]] = {
    "hello": (
        exactly(
            hello=exactly(
                version={"const": VERSION}, heartbeat_seconds={"type": "number"}, last=EVENT_ID
            )
        ),
        "First of all; `last` is the newest event",
    ),
    "events": (
        {"type": "array", "items": thing("Event"), "minItems": 1},
        "What happened, in order of the ids, which have gaps",
    ),
    "snapshot": (
        exactly(
            snapshot=exactly(
                last=EVENT_ID,
                page=KEY,
                pages=KEY,
                devices={"type": "array", "items": thing("DeviceShown")},
            )
        ),
        "One page of how everything was after event `last`, or later",
    ),
    "ping": (
        exactly(ping=exactly(last=EVENT_ID | {"type": ["integer", "null"]})),
        "Each heartbeat: resume from `last`; null while you are catching up",
    ),
    "over": (
        exactly(over=exactly(reason={"type": "string"})),
        "What you missed is no longer in the log: ask for a snapshot",
    ),
    "ordered": (answer(ordered=thing("CommandOfEvent")), "Your order is committed"),
    "held": (answer(held=exactly(device=KEY)), "Rules are kept away from the device"),
    "released": (answer(released=exactly(device=KEY)), "Rules decide again"),
    "error": (answer(error={"type": "string"}), "That message had no effect"),
}
RECEIVED: dict[str, tuple[Json, str]] = {
    "subscribe": (said("subscribe", TOPICS), f"Follow this too: at most {MOST_TOPICS} at once"),
    "unsubscribe": (said("unsubscribe", TOPICS), "Follow this no longer"),
    "snapshot": (
        said("snapshot", NOTHING),
        "What you subscribed to as it is now, then every event since",
    ),
    "resume": (said("resume", exactly(after=EVENT_ID)), "Every event after that one"),
    "pong": (said("pong", NOTHING), "I am here: the answer to a ping"),
    "here": (
        said(
            "here",
            {
                "type": "object",
                "required": ["device"],
                "properties": {"device": KEY, "changing": {"type": "boolean", "default": False}},
            },
        ),
        "My page is that of this device",
    ),
    "away": (said("away", NOTHING), "My page is no device's any more"),
    "order": (said("order", exactly(attribute=KEY, value=VALUE)), "Set an attribute"),
    "hold": (
        said(
            "hold",
            {
                "type": "object",
                "required": ["device"],
                "properties": {
                    "device": KEY,
                    "minutes": {
                        "type": ["integer", "null"],
                        "minimum": 1,
                        "maximum": LONGEST_HOLD_MINUTES,
                        "description": "Without it: until released.",
                    },
                },
            },
        ),
        "Keep rules away from a device",
    ),
    "release": (said("release", exactly(device=KEY)), "Let rules decide again"),
}
REPLIES = {
    "snapshot": ("snapshot", "events", "over"),
    "resume": ("events", "over"),
    "order": ("ordered", "error"),
    "hold": ("held", "error"),
    "release": ("released", "error"),
}
"""What follows a message of a client. Any message that is wrong is answered with an error."""


def _readings() -> Json:
    """Describe core.serializers.readings_json()."""
    seconds = {"type": "number", "description": "Seconds since 1970."}
    at_another_time = {"type": "array", "prefixItems": [VALUE, seconds], "minItems": 2}
    return {
        "type": "object",
        "description": "What one device reported at one poll, by the ids of its attributes.",
        "required": ["at", "values"],
        "properties": {
            "at": seconds,
            "values": {
                "type": "object",
                "description": "A value, or [value, when] where it was observed at another time.",
                "additionalProperties": {
                    "oneOf": [VALUE, at_another_time | {"maxItems": 2, "items": False}]
                },
            },
            "none": {
                "type": "array",
                "items": KEY,
                "description": "Attributes that have no value now.",
            },
        },
    }


PRESENCE: Json = {
    "type": "object",
    "required": ["device", "count", "changing"],
    "properties": {
        "device": KEY,
        "count": {"type": "integer", "minimum": 0},
        "changing": {"type": "integer", "minimum": 0},
        "present": {
            "type": "array",
            "items": exactly(name={"type": "string"}, changing={"type": "boolean"}),
        },
    },
}

BODIES: dict[EventKind, Json] = {
    EventKind.READINGS: thing("ReadingsOfDevice"),
    EventKind.DEVICE: thing("DeviceShown"),
    EventKind.DEVICE_REMOVED: exactly(id=KEY),
    EventKind.GATEWAY: thing("GatewayShown"),
    EventKind.GATEWAY_REMOVED: exactly(id=KEY),
    EventKind.COMMAND: thing("CommandOfEvent"),
    EventKind.RUN: thing("RunShown"),
    EventKind.PRESENCE: thing("PresenceAtDevice"),
    EventKind.PLAN: thing("PlanShown"),
}
LEDGER_ONLY = frozenset({"name", "expires_at", "reverts_at", "steps"})
"""Fields of a command that its events and answers leave out."""


def _event(kind: EventKind) -> Json:
    about = {"type": ["integer", "null"]}
    return exactly(
        id=KEY, kind={"const": kind.value}, device=about, gateway=about, body=BODIES[kind]
    )


def _schemas() -> Json:
    """Return what messages hold: of the API's things those that are used, and the socket's own."""
    api = described()["components"]["schemas"]
    command = api["CommandShown"]
    own: Json = {
        "Reference": {
            "type": ["integer", "string"],
            "maxLength": LONGEST_REF,
            "description": "Yours; the answer to your message repeats it.",
        },
        "Event": {"oneOf": [_event(kind) for kind in EventKind]},
        "ReadingsOfDevice": _readings(),
        "PresenceAtDevice": PRESENCE,
        "CommandOfEvent": command
        | {
            "required": [name for name in command["required"] if name not in LEDGER_ONLY],
            "properties": {
                name: one for name, one in command["properties"].items() if name not in LEDGER_ONLY
            },
        },
    }
    used: Json = {}
    waiting = list(_references([SENT, RECEIVED]))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = own[name] if name in own else api[name]
            waiting += _references(used[name])
    return dict(sorted(used.items()))


def _references(part: Any) -> Iterator[str]:
    """Yield the names of the things that are referred to anywhere in it."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _references(inner)


def _messages() -> Json:
    """Return the messages by name: `server_hello`, `client_order`."""
    by_side = {"server": SENT, "client": RECEIVED}
    return {
        f"{side}_{name}": {"name": name, "summary": summary, "payload": payload}
        for side, messages in by_side.items()
        for name, (payload, summary) in messages.items()
    }


def _of_channel(*messages: str) -> list[Json]:
    return [{"$ref": f"#/channels/events/messages/{message}"} for message in messages]


def _operations() -> Json:
    channel = {"$ref": "#/channels/events"}
    operations: Json = {
        "tell": {
            "action": "send",
            "channel": channel,
            "summary": "What the server says",
            "messages": _of_channel(*(f"server_{name}" for name in SENT)),
        }
    }
    for name, (_, summary) in RECEIVED.items():
        operations[name] = {
            "action": "receive",
            "channel": channel,
            "summary": summary,
            "messages": _of_channel(f"client_{name}"),
        }
        if name in REPLIES:
            answers = [f"server_{reply}" for reply in REPLIES[name]]
            operations[name]["reply"] = {"channel": channel, "messages": _of_channel(*answers)}
    return operations


@cache
def socket_described(host: str, protocol: str) -> Json:
    """Return the description for a site at this host, `ws` or `wss`."""
    messages = _messages()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "iotapp: the socket",
            "version": str(VERSION),
            "description": (
                "Every change within milliseconds of its commit, and orders. docs/socket.md tells "
                "in which order messages come, and how a socket closes. Ignore members and "
                f"messages you do not know. A client's message has at most {LARGEST_MESSAGE} bytes."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "site": {
                "host": host,
                "protocol": protocol,
                "description": "The header Origin must be the address of the site itself.",
                "security": [{"$ref": "#/components/securitySchemes/session"}],
            }
        },
        "channels": {
            "events": {
                "address": "/ws/events/",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": _schemas(),
            "securitySchemes": {
                "session": {
                    "type": "httpApiKey",
                    "in": "cookie",
                    "name": settings.SESSION_COOKIE_NAME,
                    "description": "The log-in of a page; without one, where reading is public.",
                }
            },
        },
    }


class SocketSchema(Resource):
    """For everybody, as the API's."""

    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        protocol = "wss" if request.is_secure() else "ws"
        return Response(socket_described(request.get_host(), protocol))
