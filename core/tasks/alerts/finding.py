"""One thing that is wrong now."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, by its root cause.

    `detail` may hold errors and addresses. `explained`: another finding is the cause, so that this
    one opens no alert; one that was open before stays so. `looks`: so many in a row must see it
    before an alert is opened.
    """

    key: str
    title: str
    detail: str = ""
    gateway: int | None = None
    device: int | None = None
    urgent: bool = False
    explained: bool = False
    looks: int = 1
