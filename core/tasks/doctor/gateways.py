"""The gateways: each asked who it is, within its budget, or judged by its last answer; and what
their clocks say."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from core import vendors
from core.formatting import ago, counted
from core.models import Gateway
from core.net.threads import in_threads
from core.readings import printable
from core.tasks.doctor.line import Line, error, ok, warning
from core.tasks.doctor.machine import NTP, compared
from core.tasks.polling.backoff import complaint, is_asleep
from core.tasks.polling.clients import client_for
from core.tasks.polling.rate_limit import LONGEST_READ_WAIT, NoCallsLeft

SECONDS = 5.0
"""For one gateway."""
MOST_ASKED = 200
"""Of more, those that fail are asked first."""
WORKERS = 20
LINES_SHOWN = 20
NAMES_SHOWN = 10
DRIFT = timedelta(minutes=1)
"""Clocks of devices go badly, and nothing depends on them."""


@dataclass(frozen=True)
class Answer:
    """What came of asking a gateway. `error` None: it answered."""

    error: Exception | None = None
    theirs: datetime | None = None
    ours: datetime | None = None


def gateway_lines(asks: bool) -> Iterator[Line]:
    gateways = list(Gateway.objects.active().order_by("-failures", "pk"))
    if not gateways:
        text = "There are none yet."
        yield warning("gateways", text, "Add one: python manage.py add_gateway VENDOR URL")
        return
    answers = _asked(gateways) if asks else {}
    lines = [_line(gateway, answers.get(gateway.pk)) for gateway in gateways]
    troubles = [line for line in lines if line is not None]
    yield from troubles[:LINES_SHOWN]
    if len(troubles) > LINES_SHOWN:
        more = counted(len(troubles) - LINES_SHOWN, "gateway")
        yield error("gateways", f"So are {more} more.", "See: python manage.py list_gateways")
    yield from _good_line(gateways, lines, answers)
    yield from _clock_lines(gateways, answers)


def _good_line(
    gateways: Sequence[Gateway], lines: Sequence[Line | None], answers: dict[int, Answer]
) -> Iterator[Line]:
    """Yield one line for all that do well, and say how many of them were asked just now."""
    good = [gateway for gateway, line in zip(gateways, lines, strict=True) if line is None]
    if not good:
        return
    by_answer = Counter(gateway.pk in answers for gateway in good)
    parts = []
    if by_answer[True]:
        parts.append(f"{counted(by_answer[True], 'gateway')} asked now, and well")
    if by_answer[False]:
        parts.append(f"{counted(by_answer[False], 'gateway')} well by the last answer")
    names = ", ".join(str(gateway) for gateway in good[:NAMES_SHOWN])
    others = " and others" if len(good) > NAMES_SHOWN else ""
    yield ok("gateways", f"{'; '.join(parts)}: {names}{others}.")


def _asked(gateways: Sequence[Gateway]) -> dict[int, Answer]:
    """Ask each that may be asked now who it is. Nothing is stored."""
    now = timezone.now()
    booked = _booked()
    wanted = [gateway for gateway in gateways if _may_be_asked(gateway, now, booked)][:MOST_ASKED]
    ended = in_threads(
        _ask,
        wanted,
        workers=min(WORKERS, max(1, len(wanted))),
        deadline_seconds=2 * SECONDS + LONGEST_READ_WAIT,
    )
    found = {}
    for gateway, outcome in ended:
        answer = Answer(error=outcome) if isinstance(outcome, Exception) else outcome
        # Others have used up its budget meanwhile: that says nothing of it.
        if not isinstance(answer.error, NoCallsLeft):
            found[gateway.pk] = answer
    return found


def _booked() -> dict[int, timedelta]:
    """Return how far ahead the budgets of gateways are used up, on the database's clock."""
    limited = Gateway.objects.active().exclude(next_read_at=None)
    times = limited.values_list("pk", "next_read_at", Now())
    return {pk: next_read_at - now for pk, next_read_at, now in times}


def _may_be_asked(gateway: Gateway, now: datetime, booked: dict[int, timedelta]) -> bool:
    vendor = vendors.load_or_default(gateway.vendor)
    if vendor.pushes or gateway.wakes_every:
        return False
    if vendor.pairing and not gateway.credential:
        return False  # asking would pair
    # A wrong password that is tried again and again locks an account.
    if gateway.refused and gateway.retry_at and gateway.retry_at > now:
        return False
    return booked.get(gateway.pk, timedelta()) <= timedelta(seconds=SECONDS)


def _ask(gateway: Gateway) -> Answer:
    """Runs in a worker thread."""
    seconds = min(SECONDS, settings.GATEWAY_TIMEOUT_SECONDS)
    try:
        client = client_for(gateway, seconds)
        client.identify()
    except Exception as problem:  # whatever one vendor's client does, the others are asked
        return Answer(error=problem)
    return Answer(theirs=client.http.date, ours=timezone.now())


def _line(gateway: Gateway, answer: Answer | None) -> Line | None:
    """Return what is wrong with a gateway; None if nothing is."""
    pk = gateway.pk
    if answer and answer.error:
        if is_asleep(answer.error, gateway.wakes_every):
            return None
        return _trouble(gateway, complaint(answer.error), "asked now")
    if answer:
        return None
    pushes = vendors.load_or_default(gateway.vendor).pushes
    if gateway.failures:
        asked = ago(gateway.asked_at, timezone.now()) if gateway.asked_at else "before"
        return _trouble(gateway, gateway.error, f"asked {asked}")
    if gateway.answered_at is None and not pushes:
        advice = f"Run: python manage.py poll_devices --gateway {pk}"
        return warning("gateways", f"{gateway} was never asked.", advice)
    return None


def _trouble(gateway: Gateway, why: str, when: str) -> Line:
    advice = (
        f"Is it on, and are its address and credential right? "
        f"python manage.py change_gateway {gateway.pk} --address URL --credential"
    )
    return error("gateways", f"{gateway} ({when}): {printable(why)}", advice)


def _clock_lines(gateways: Sequence[Gateway], answers: dict[int, Answer]) -> Iterator[Line]:
    """Compare our clock with the Date headers of those that answered."""
    names = {gateway.pk: str(gateway) for gateway in gateways}
    told = [(pk, one.theirs, one.ours) for pk, one in answers.items() if one.theirs and one.ours]
    apart = [one for one in told if abs(one[1] - one[2]) > DRIFT]
    if told and len(apart) == len(told) > 1:
        pk, theirs, ours = apart[0]
        text = compared(f"The clock of {names[pk]}", theirs, ours).text
        yield error("clock", f"{text} Those of all other gateways differ too.", NTP)
        return
    for pk, theirs, ours in apart[:NAMES_SHOWN]:
        text = compared(f"The clock of {names[pk]}", theirs, ours).text
        yield warning("clock", text, f"One of the two is wrong. {NTP}")
    if agreeing := len(told) - len(apart):
        yield ok("clock", f"{counted(agreeing, 'gateway')} agree to the minute.")
