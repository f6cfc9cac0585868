"""Find what is wrong, keep the ledger of it, and send the messages that are due."""

import logging
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from core.formatting import counted
from core.tasks.alerts.deliver import Delivery, deliver
from core.tasks.alerts.ledger import Look, look
from core.tasks.runs import FIRST_DAY, ClockNotSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertSummary:
    look: Look
    delivery: Delivery

    def as_json(self) -> dict[str, Any]:
        return {
            "open": [alert.title for alert in self.look.open],
            "opened": len(self.look.opened),
            "ended": len(self.look.ended),
            "sent": self.delivery.sent,
            "given_up": self.delivery.given_up,
            "postponed": self.delivery.postponed,
        }

    def in_words(self) -> str:
        lines = [f"{counted(len(self.look.open), 'alert')} open."]
        lines += [f"  {alert.title}" for alert in self.look.open[:50]]
        lines.append(
            f"{len(self.look.opened)} new, {len(self.look.ended)} over. "
            f"{counted(self.delivery.sent, 'message')} sent, {self.delivery.postponed} to be sent "
            f"later, {self.delivery.given_up} given up."
        )
        return "\n".join(lines)


def send_alerts() -> AlertSummary:
    """Raises ClockNotSet: by a clock that is years behind, all would be late."""
    now = timezone.now()
    if now < FIRST_DAY:
        raise ClockNotSet(f"The clock of this machine shows {now:%Y-%m-%d}: it is not set.")
    # After the look: what it committed is sent with this run, not with the next.
    return AlertSummary(look(now), deliver())


def after_a_run() -> None:
    """Do it after a scheduled run. Whatever goes wrong here does not change how that ended."""
    try:
        send_alerts()
    except ClockNotSet:
        return  # the run has said so
    except DatabaseError as error:
        logger.warning("Alerts could not be looked for: %s", str(error).strip())
    except Exception:
        logger.exception("Alerts could not be looked for or sent.")
