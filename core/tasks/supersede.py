"""Taking back what was ordered and is not under way to its device."""

from datetime import datetime

from core.models.device_command import DeviceCommandQuerySet, Event


def supersede(older: DeviceCommandQuerySet, now: datetime) -> None:
    """Inside a transaction. What is being sent stays: nobody knows yet what becomes of it."""
    for command in older.select_for_update(of=("self",)).order_by("pk"):
        if command.move(Event.SUPERSEDE, now):
            command.save(update_fields=["state", "finished_at", "steps"])
