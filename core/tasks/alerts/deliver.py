"""Send the messages of the ledger: each is claimed, sent, and noted as sent.

Threads do the sending, one for each address; the caller's thread does all that is stored. An
address that fails is left alone until the next time.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from core.alerts import Channel, Message
from core.models import AlertMessage
from core.models.alert import CLAIM, Fate, Phase
from core.net.errors import ApiError, ApiRefused
from core.net.threads import in_threads
from core.readings import printable
from core.tasks.alerts.ledger import Address, addresses
from core.tasks.polling.clock import AHEAD

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 20
"""Messages to one address at one time: the others follow with the next run."""
MOST_ATTEMPTS = 8
MOST_UNCLEAR = 1
"""A message whose sender was killed is sent once more, and never a third time."""
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=2)
LONGEST_WAIT = timedelta(days=2)
"""What is older tells nobody anything: its address was away, or was taken out of ALERTS."""
SENDING_SECONDS = 75.0
"""For one message. A mail server is tried three times, 20 s each. Less than a claim."""


@dataclass
class Delivery:
    """How many messages were sent, given up, and left for the next time."""

    sent: int = 0
    given_up: int = 0
    postponed: int = 0


def deliver() -> Delivery:
    """Send what is due. Two processes may do so at once: each message is claimed by one."""
    result, now = Delivery(), timezone.now()
    waiting = AlertMessage.objects.waiting()
    too_old = waiting.free().filter(due_at__lt=now - LONGEST_WAIT)
    result.given_up += too_old.update(fate=Fate.GIVEN_UP, error="It could not be sent for days.")
    queues = {target: _due(target, now) for target in addresses()}
    # In rounds of one message each, so that no address waits for all that another gets.
    for _ in range(MOST_AT_ONCE):
        round_of = [(target, queue.pop(0)) for target, queue in queues.items() if queue]
        if not round_of:
            break
        for target in _send_round(round_of, result):
            result.postponed += len(queues[target])
            queues[target] = []
    result.postponed += sum(map(len, queues.values()))
    return result


def _due(target: Address, now: datetime) -> list[AlertMessage]:
    """Return what is to be sent to an address, urgent ones first."""
    # Times further ahead than any that this writes are of a clock that was wrong.
    found = AlertMessage.objects.waiting().free().filter(channel=target.digest)
    related = found.select_related("alert").order_by("-alert__urgent", "pk")
    longest_night, longest_pause = timedelta(days=1) + AHEAD, LONGEST_PAUSE + AHEAD
    return [
        message
        for message in related[: 10 * MOST_AT_ONCE]
        if not now < message.due_at < now + longest_night
        and not (message.retry_at and now < message.retry_at < now + longest_pause)
    ][:MOST_AT_ONCE]


def _send_round(
    round_of: Sequence[tuple[Address, AlertMessage]], result: Delivery
) -> Iterator[Address]:
    """Send one message to each address. Yield the addresses that failed."""
    claimed: list[tuple[Address, AlertMessage, Channel]] = []
    for target, message in round_of:
        try:
            channel = target.channel()
        except (LookupError, ValueError) as error:
            _note(message, ApiRefused(str(error)), result)
            yield target
            continue
        # Claimed only now: an address that cannot be used takes no claim.
        if _claim(message, result):
            claimed.append((target, message, channel))
    ended = in_threads(
        _send, claimed, workers=max(1, len(claimed)), deadline_seconds=SENDING_SECONDS
    )
    for (target, message, _), outcome in ended:
        failure = outcome if isinstance(outcome, Exception) else None
        _note(message, failure, result)
        if failure:
            yield target


def _claim(message: AlertMessage, result: Delivery) -> bool:
    """Take a message for this process. Return whether it is to be sent."""
    # Who claimed it before was killed while sending: nobody knows whether it arrived.
    unclear = message.unclear + (message.claimed_until is not None)
    fate = Fate.GIVEN_UP if unclear > MOST_UNCLEAR else Fate.WAITING
    # By its attempts: whoever read the same row and claims it second changes nothing.
    free = AlertMessage.objects.waiting().free().filter(pk=message.pk, attempts=message.attempts)
    is_ours = free.update(
        attempts=F("attempts") + 1,
        unclear=unclear,
        fate=fate,
        claimed_until=Now() + CLAIM,
        error="" if fate == Fate.WAITING else "Its sender was killed twice.",
    )
    if not is_ours:
        return False
    message.attempts += 1
    result.given_up += fate == Fate.GIVEN_UP
    return fate == Fate.WAITING


def _send(job: tuple[Address, AlertMessage, Channel]) -> None:
    _, message, channel = job
    channel.send(as_sent(message))


def _note(message: AlertMessage, error: Exception | None, result: Delivery) -> None:
    """Store what became of a message."""
    row = AlertMessage.objects.filter(pk=message.pk)
    now = timezone.now()
    if error is None:
        row.update(fate=Fate.SENT, sent_at=now, claimed_until=None, retry_at=None, error="")
        result.sent += 1
        return
    why = printable(complaint(error))[:300]
    logger.warning("Alert not sent, %s: %s", message.channel_name, why)
    is_last = message.attempts >= MOST_ATTEMPTS
    pause = min(FIRST_PAUSE * 4 ** min(message.attempts, 10), LONGEST_PAUSE)
    row.update(
        fate=Fate.GIVEN_UP if is_last else Fate.WAITING,
        retry_at=None if is_last else now + pause,
        claimed_until=None,
        error=why,
    )
    result.given_up += is_last
    result.postponed += not is_last


def complaint(error: Exception) -> str:
    """Return an error in words that hold no secret: of an answer its status only.

    What is quoted of an answer may repeat the path, and a webhook's path is its password.
    """
    if isinstance(error, ApiError | ApiRefused):
        return f"It answered {error.status}." if error.status else str(error)
    if isinstance(error, TimeoutError):
        return "It did not answer in time."
    return type(error).__name__


def as_sent(message: AlertMessage) -> Message:
    """Return a message as the channels send it."""
    alert = message.alert
    is_over = message.phase == Phase.ENDED
    site = f"{settings.SITE_URL.rstrip('/')}/alerts/" if settings.SITE_URL else ""
    began = f"{alert.first_seen_at:%Y-%m-%d %H:%M}"
    lines = [alert.detail, f"Seen since {began} UTC."]
    at = alert.opened_at or alert.first_seen_at
    if is_over and alert.ended_at:
        at = alert.ended_at
        lines = [alert.detail, f"From {began} to {alert.last_seen_at:%Y-%m-%d %H:%M} UTC."]
    # A pause is found when it is over: that is the news, not the end of an alert.
    if alert.key.startswith("pause:"):
        lines, is_over = [alert.detail], False
    title = f"Over: {alert.title}" if is_over else alert.title
    text = "\n".join(filter(None, lines))
    return Message(message.message_id, title, text, at, is_over, alert.urgent, site)
