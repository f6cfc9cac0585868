"""A timer that runs at fixed hours of the night: what anybody can have without a forecast.

From 00:30 to 03:30, as tariffs of the night have it: chosen without a look at any year.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from core import planning
from core.feeds import Slot
from core.planning import Job, Window
from core.schedule import first_moment

LONDON = ZoneInfo("Europe/London")
FROM = timedelta(hours=0, minutes=30)
LASTS = timedelta(hours=3)
FIXED_HOURS = "from 00:30 to 03:30"


def cost_at_fixed_hours(job: Job, slots: Sequence[Slot]) -> float:
    """Return what the job costs in the night before its deadline; `slots` were measured then.

    Raises ValueError if they do not cover it, or the job may not run then.
    """
    run = fixed_run(job.deadline)
    near = [one for one in slots if one.ends_at > run.starts_at and one.starts_at < run.ends_at]
    cost = planning.cost([run], near, job.watts)
    if cost is None or run.starts_at < job.opens_at or run.ends_at > job.deadline:
        raise ValueError(f"{FIXED_HOURS} is not all measured, or not all within {job}")
    return cost


def fixed_run(deadline: datetime) -> Window:
    """Return the fixed hours of the day on which the deadline is, by London's clock."""
    starts_at = first_moment(deadline.astimezone(LONDON).date(), FROM, LONDON)
    return Window(starts_at, starts_at + LASTS)
