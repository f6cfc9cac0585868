"""Parses a client's messages strictly, and limits their rate. docs/socket.md describes them."""

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
    """Return the message and the reference that its answer repeats. Raises Refused."""
    try:
        message = parse(text.encode())
    except ValueError:
        raise Refused("It is no JSON.") from None
    if not isinstance(message, dict):
        raise Refused("A message is an object.")
    # Taken out first: what is left must be the one verb.
    ref = message.pop("ref", None)
    # Python counts true and false as whole numbers, so they are refused by name.
    if ref is not None and (
        isinstance(ref, bool) or not isinstance(ref, str | int) or len(str(ref)) > LONGEST_REF
    ):
        raise Refused(f"ref must be a whole number or a text of at most {LONGEST_REF} characters.")
    return message, ref


def parse_request(message: Message) -> Request:
    """Return the one verb of a message and its body. Raises Refused."""
    # Any other number of keys becomes a verb that does not exist, refused below.
    [(verb, body)] = message.items() if len(message) == 1 else [("", None)]
    if verb not in VERBS or not isinstance(body, dict):
        raise Refused(f"A message holds one of {', '.join(VERBS)}, and an object for it.")
    return Request(verb, body)


def parse_topics(body: Message) -> set[Topic]:
    """Parse `{"to": ...}` of a subscription: what to follow. Raises Refused.

    It is "all", "changes", {"device": 3} or {"gateway": 2}, or the latter two with a list.
    """
    to = body.get("to")
    for general in (ALL, CHANGES):
        if to == general.kind:
            return {general}
    if isinstance(to, dict) and len(to) == 1 and (kind := next(iter(to))) in ("device", "gateway"):
        pks = to[kind] if isinstance(to[kind], list) else [to[kind]]
        return {Topic(kind, whole({kind: pk}, kind)) for pk in pks}
    raise Refused(
        'to must be "all", "changes", {"device": number} or {"gateway": number}; '
        "or a list of numbers."
    )


def parse_place(body: Message) -> tuple[int, bool]:
    """Parse `{"device": 3, "changing": false}`: the page, and whether it edits. Raises Refused."""
    changing = body.get("changing", False)
    if not isinstance(changing, bool):
        raise Refused("changing must be true or false.")
    return whole(body, "device"), changing


def parse_after(body: Message) -> int:
    """Return the id of the event to resume after. Raises Refused."""
    # 0 is before the first event; from 2**63 on a number fits no key of the table.
    value = body.get("after")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Refused("after must be the number of an event.")
    return value


class TokenBucket:
    """A rate limit: `at_once` tokens, refilled at `a_second`. Taking more goes into debt."""

    def __init__(self, a_second: float, at_once: int) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._tokens, self._counted_at = float(at_once), monotonic()

    def take(self) -> bool:
        """Take one token; return whether it was within the limit."""
        now = monotonic()
        refilled = self._tokens + (now - self._counted_at) * self._a_second
        # Refused messages count too: who goes on as fast only gets deeper into debt.
        self._tokens = min(self._at_once, refilled) - 1
        self._counted_at = now
        return self._tokens >= 0

    @property
    def is_deep_in_debt(self) -> bool:
        return self._tokens < -self._at_once
