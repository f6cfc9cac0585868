"""What a client may say over a socket, read strictly. docs/socket.md describes the messages."""

from time import monotonic
from typing import Any, NamedTuple

from core.live.actions import Refused, whole
from core.live.subscriber import ALL, CHANGES, Topic
from core.net.strict_json import parse

LONGEST_REF = 100
VERBS = (
    "subscribe",
    "unsubscribe",
    "resume",
    "snapshot",
    "pong",
    "here",
    "away",
    "order",
    "hold",
    "release",
)

Message = dict[str, Any]
Reference = str | int | None


class Request(NamedTuple):
    verb: str
    body: Message


def parse_message(text: str) -> tuple[Message, Reference]:
    """A message and the reference by which its answer is known. Raises Refused."""
    try:
        message = parse(text.encode())
    except ValueError:
        raise Refused("It is no JSON.") from None
    if not isinstance(message, dict):
        raise Refused("A message is an object.")
    ref = message.pop("ref", None)
    if ref is not None and (
        isinstance(ref, bool) or not isinstance(ref, str | int) or len(str(ref)) > LONGEST_REF
    ):
        raise Refused(f"ref must be a whole number or a text of at most {LONGEST_REF} characters.")
    return message, ref


def parse_request(message: Message) -> Request:
    """The one verb of a message. Raises Refused."""
    [(verb, body)] = message.items() if len(message) == 1 else [("", None)]
    if verb not in VERBS or not isinstance(body, dict):
        raise Refused(f"A message holds one of {', '.join(VERBS)}, and an object for it.")
    return Request(verb, body)


def parse_topics(body: Message) -> set[Topic]:
    """`{"to": "all"}`, `{"to": "changes"}`, `{"to": {"device": 3}}`, `{"to": {"gateway": 2}}`, or such with a list of numbers.
    Raises Refused."""
    to = body.get("to")
    for general in (ALL, CHANGES):
        if to == general.kind:
            return {general}
    if isinstance(to, dict) and len(to) == 1 and (kind := next(iter(to))) in ("device", "gateway"):
        pks = to[kind] if isinstance(to[kind], list) else [to[kind]]
        return {Topic(kind, whole({kind: pk}, kind)) for pk in pks}
    raise Refused(
        'to must be "all", "changes", {"device": number} or {"gateway": number}; or a list of numbers.'
    )


def parse_place(body: Message) -> tuple[int, bool]:
    """`{"device": 3, "changing": false}`: at whose page, and whether to change it. Raises Refused."""
    changing = body.get("changing", False)
    if not isinstance(changing, bool):
        raise Refused("changing must be true or false.")
    return whole(body, "device"), changing


def parse_after(body: Message) -> int:
    """Raises Refused."""
    value = body.get("after")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Refused("after must be the number of an event.")
    return value


class TokenBucket:
    """A token bucket: so many at once, then so many a second. Who takes more goes into debt, and pays it back by waiting."""

    def __init__(self, a_second: float, at_once: int) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._tokens, self._counted_at = float(at_once), monotonic()

    def take(self) -> bool:
        """Whether this one is within the limit."""
        now = monotonic()
        self._tokens = (
            min(self._at_once, self._tokens + (now - self._counted_at) * self._a_second) - 1
        )
        self._counted_at = now
        return self._tokens >= 0

    @property
    def is_deep_in_debt(self) -> bool:
        return self._tokens < -self._at_once
