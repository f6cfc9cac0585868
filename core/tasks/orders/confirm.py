"""What became of orders: decided by reads made after the vendor had settled, and by nothing else."""

from datetime import datetime, timedelta

from django.utils import timezone

from core import formatting
from core.models import DeviceCommand
from core.models.device_command import CommandEvent, DeviceCommandQuerySet, State
from core.models.freshness import late_after
from core.tasks.events.outbox import publishing
from core.tasks.orders import holds

FIRST_RETRY = timedelta(seconds=10)
MOST_AT_ONCE = 500


def with_device(commands: DeviceCommandQuerySet) -> DeviceCommandQuerySet:
    """In order, with all that is needed to judge and to send them, so many as one pass takes."""
    return commands.select_related("attribute__device__gateway").order_by("pk")[:MOST_AT_ONCE]


def confirm_commands() -> None:
    """Move every command whose outcome is open by what has been heard since it was written; and at once, before anybody can
    undo what it did, notice what is not as ordered."""
    _judge()
    holds.notice()


def _judge() -> None:
    now = timezone.now()
    with publishing():
        for command in with_device(
            DeviceCommand.objects.unclear(now).select_for_update(of=("self",))
        ):
            if event := _what_happened(command, now):
                before = command.state
                if not command.move(event, now, _why(command, event)):
                    continue
                if before == State.SENDING and command.state == State.REQUESTED:
                    if _has_newer(command):
                        command.move(CommandEvent.SUPERSEDE, now)
                    command.retry_at = now + FIRST_RETRY * 2 ** min(command.attempts - 1, 6)
                command.claimed_until = None
                command.save(
                    update_fields=[
                        "state",
                        "error",
                        "finished_at",
                        "retry_at",
                        "claimed_until",
                        "steps",
                    ]
                )


def _has_newer(command: DeviceCommand) -> bool:
    """Whether something else was ordered while this was being sent. Sent again, this would undo it."""
    return DeviceCommand.objects.filter(attribute=command.attribute_id, pk__gt=command.pk).exists()


def is_heard(command: DeviceCommand) -> bool:
    """Whether a read that began after the write had settled told a value."""
    heard_at = command.attribute.heard_at
    return bool(
        command.attribute.available
        and heard_at
        and command.settles_at
        and heard_at >= command.settles_at
    )


def _what_happened(command: DeviceCommand, now: datetime) -> CommandEvent | None:
    attribute, answered_at = command.attribute, command.attribute.device.gateway.answered_at
    last_chance = command.confirm_by or command.expires_at
    if is_heard(command):
        if command.matches(attribute.number, attribute.text):
            return CommandEvent.SEEN
        heard_at = attribute.heard_at or now
        if max(heard_at, answered_at or heard_at) >= last_chance:
            return CommandEvent.EXPIRE
        if command.state == State.SENDING and not command.is_as_before(
            attribute.number, attribute.text
        ):
            return (
                CommandEvent.EXPIRE
            )  # a third value: somebody else has set it meanwhile, and is not overruled
        return CommandEvent.NOT_SEEN
    vendor_answered = answered_at and command.settles_at and answered_at >= command.settles_at
    patience = timedelta() if vendor_answered else late_after()
    return CommandEvent.EXPIRE if now >= last_chance + patience else None


def _why(command: DeviceCommand, event: CommandEvent) -> str:
    if event is CommandEvent.SEEN:
        return ""
    device, attribute = command.attribute.device, command.attribute
    if is_heard(command):
        return f"{device} still says {attribute.name} is {formatting.value_text(attribute.value, attribute.unit)}."
    return f"{device} has told nothing since it was sent." + (
        f" {command.error}" if command.error else ""
    )
