"""One thing that is wrong now."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, by its root cause.

    `detail` may hold errors and addresses. `explained`: another finding is the cause, so that this
    one opens no alert; one that was open before stays so. `looks`: so many in a row must see it
    before an alert is opened. `seen_at` is that of the poll that saw it: another look at the same
    poll does not count. None: looks count by their own time.
    """

    key: str
    title: str
    detail: str = ""
    gateway: int | None = None
    device: int | None = None
    urgent: bool = False
    explained: bool = False
    looks: int = 1
    seen_at: datetime | None = None
