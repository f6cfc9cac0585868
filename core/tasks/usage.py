"""Count what programs use, without a write for each request, and keep it within their plans.

Counts wait in this process and are added to the database every few seconds, in one statement, by a
request that comes then, and when the process ends. A process that is killed loses those seconds.
"""

import atexit
import logging
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError
from django.db.models import F, Sum
from django.utils import timezone

from core.models import Token, Usage
from core.tasks.polling.statements import BulkStatement

FLUSH_SECONDS = 5.0
MOST_ROWS = 10_000
"""Of an export: tokens times addresses of a month."""


class UsageRow(NamedTuple):
    """Requests to add. `day` is written as 2026-11-26."""

    token_id: int
    day: str
    route: str
    requests: int


# The join leaves out tokens that were deleted since: their requests are nobody's.
ADD_USAGE = BulkStatement(
    (("token_id", "bigint"), ("day", "date"), ("route", "text"), ("requests", "bigint")),
    """INSERT INTO core_usage (token_id, day, route, requests)
    SELECT v.token_id, v.day, v.route, v.requests
    FROM {rows} JOIN core_token ON core_token.id = v.token_id WHERE true
    ON CONFLICT (day, token_id, route)
    DO UPDATE SET requests = core_usage.requests + excluded.requests""",
)

logger = logging.getLogger(__name__)


class Budget(NamedTuple):
    """Whose requests count towards a plan: those of all tokens of a person that have it.

    Were it each token, to rotate one or to issue ten would be a way around the plan.
    """

    user: int
    plan: str


class Counted(NamedTuple):
    token: int
    day: date
    route: str
    budget: Budget


class OverQuota(NamedTuple):
    sentence: str
    wait: int
    """Seconds until the next day begins, in UTC."""


class _Counts:
    """What this process counted since it last wrote, and what its tokens have used today."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: Counter[Counted] = Counter()
        self.written_at = monotonic()
        self.budgets: dict[str, Budget] = {}
        """By the digest of a token."""
        self.today: dict[Budget, int] = {}
        self.day = date.min


_counts = _Counts()


def count(token: Token, digest: str, route: str) -> None:
    """Count a request of a token. Now and then this writes all that waits."""
    today = timezone.now().astimezone(UTC).date()
    budget = Budget(token.user_id, token.plan)
    with _counts.lock:
        if today != _counts.day:
            _counts.day, _counts.today = today, {}
        _counts.waiting[Counted(token.pk, today, route, budget)] += 1
        _counts.today[budget] = _counts.today.get(budget, 0) + 1
        _counts.budgets[digest] = budget
        is_due = monotonic() - _counts.written_at > FLUSH_SECONDS
    if is_due:
        flush()


def over_quota(digest: str) -> OverQuota | None:
    """Return why a token may make no more requests today, or None. Asks no database.

    What other processes counted is known after the next `flush`, and whose a token is after its
    first request here, so a plan may be exceeded by what is done in a few seconds.
    """
    budget = _counts.budgets.get(digest)
    if budget is None:
        return None
    plan, now = budget.plan, timezone.now().astimezone(UTC)
    most = settings.API_PLANS.get(plan)
    if most is None or now.date() != _counts.day or _counts.today.get(budget, 0) < most:
        return None
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    sentence = f"The plan {plan} has {most:,} requests a day, which are used up until 00:00 UTC."
    return OverQuota(sentence, int((midnight - now).total_seconds()) + 1)


def flush() -> None:
    """Add what was counted to the database. What cannot be written waits for the next time."""
    with _counts.lock:
        # Taken out under the lock, and written without it: other requests count on.
        waiting, _counts.waiting = _counts.waiting, Counter()
        _counts.written_at = monotonic()
    if not waiting:
        return
    try:
        _write(waiting)
    except DatabaseError as error:
        logger.warning("Usage could not be written (%s): it is tried again", error)
        with _counts.lock:
            _counts.waiting.update(waiting)
        return
    _read_today({counted.budget for counted in waiting})


def _write(waiting: Counter[Counted]) -> None:
    ADD_USAGE.run(
        [
            UsageRow(counted.token, counted.day.isoformat(), counted.route, requests)
            for counted, requests in sorted(waiting.items())
        ]
    )


def _read_today(budgets: set[Budget]) -> None:
    """Learn what other processes counted for these."""
    rows = Usage.objects.filter(
        day=_counts.day, token__user__in={user for user, plan in budgets if plan}
    )
    sums = rows.values_list("token__user", "token__plan").annotate(Sum("requests"))
    found = {Budget(user, plan): requests for user, plan, requests in sums}
    with _counts.lock:
        waiting: Counter[Budget] = Counter()
        for counted, requests in _counts.waiting.items():
            waiting[counted.budget] += requests
        # What was counted since the write is in no sum of the database yet.
        _counts.today |= {budget: found[budget] + waiting[budget] for budget in found}


def of_month(first: date) -> list[dict[str, Any]]:
    """Return the usage of a month, a row for each token and address, for a bill.

    Each has user, token, name, plan, route and requests.
    """
    # Four days after the 28th it is the next month, whichever this is.
    after = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    rows = Usage.objects.filter(day__gte=first.replace(day=1), day__lt=after)
    by_token = rows.values(
        "token",
        "route",
        user=F("token__user__username"),
        name=F("token__name"),
        plan=F("token__plan"),
    )
    sums = by_token.annotate(requests=Sum("requests")).order_by("user", "token", "route")
    return [dict(row) for row in sums[:MOST_ROWS]]


def of_token(token: Token, since: date) -> list[dict[str, Any]]:
    """Return the usage of a token by day and address, newest day first."""
    rows = Usage.objects.filter(token=token, day__gte=since).order_by("-day", "route")
    return [
        {"day": row.day.isoformat(), "route": row.route, "requests": row.requests}
        for row in rows[:MOST_ROWS]
    ]


def forget() -> None:
    """Begin anew, as a new process does. What waits is lost."""
    global _counts
    _counts = _Counts()


atexit.register(flush)
