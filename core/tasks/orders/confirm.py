"""Confirm device commands by reads made after the vendor had settled, and by nothing else."""

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
CONFIRM_FIELDS = ["state", "error", "finished_at", "retry_at", "claimed_until", "steps"]


def with_device(commands: DeviceCommandQuerySet) -> DeviceCommandQuerySet:
    """In order, with what is needed to confirm and to send them, as many as one pass takes."""
    return commands.select_related("attribute__device__gateway").order_by("pk")[:MOST_AT_ONCE]


def confirm_commands() -> None:
    """Move every command whose outcome is open by what was read since it was written.

    Changes that nobody ordered are noticed at once, before anybody can undo them.
    """
    _confirm()
    holds.notice()


def _confirm() -> None:
    now = timezone.now()
    with publishing():
        # Only commands are locked: the rows joined to them stay free for polls.
        unclear = DeviceCommand.objects.unclear(now).select_for_update(of=("self",))
        for command in with_device(unclear):
            before, event = command.state, _outcome(command, now)
            if event is None or not command.move(event, now, _reason(command, event, now)):
                continue
            if before == State.SENDING and command.state == State.REQUESTED:
                if _has_newer(command):
                    command.move(CommandEvent.SUPERSEDE, now)
                # From 10 seconds up to about 11 minutes.
                command.retry_at = now + FIRST_RETRY * 2 ** min(command.attempts - 1, 6)
            command.claimed_until = None
            command.save(update_fields=CONFIRM_FIELDS)


def _has_newer(command: DeviceCommand) -> bool:
    """Whether something else was ordered while this was being sent.

    Sent again, this would undo it.
    """
    return DeviceCommand.objects.filter(attribute=command.attribute_id, pk__gt=command.pk).exists()


def is_heard(command: DeviceCommand, now: datetime) -> bool:
    """Whether a read that began after the write had settled returned a value.

    A read of the future was made before the clock was set back: it is older than the order.
    """
    heard_at = command.attribute.heard_at
    return bool(
        command.attribute.available
        and heard_at
        and command.settles_at
        and command.settles_at <= heard_at <= now
    )


def _outcome(command: DeviceCommand, now: datetime) -> CommandEvent | None:
    attribute, answered_at = command.attribute, command.attribute.device.gateway.answered_at
    last_chance = command.confirm_by or command.expires_at
    if is_heard(command, now):
        if command.matches(attribute.number, attribute.text):
            return CommandEvent.SEEN
        heard_at = attribute.heard_at or now
        if max(heard_at, answered_at or heard_at) >= last_chance:
            return CommandEvent.EXPIRE
        is_as_before = command.is_as_before(attribute.number, attribute.text)
        if command.state == State.SENDING and not is_as_before:
            # A third value: somebody else has set it since, and is not overruled.
            return CommandEvent.EXPIRE
        return CommandEvent.NOT_SEEN
    # Nothing was heard. If the vendor did not answer either, a later poll may tell.
    vendor_answered = answered_at and command.settles_at and answered_at >= command.settles_at
    patience = timedelta() if vendor_answered else late_after()
    return CommandEvent.EXPIRE if now >= last_chance + patience else None


def _reason(command: DeviceCommand, event: CommandEvent, now: datetime) -> str:
    if event is CommandEvent.SEEN:
        return ""
    device, attribute = command.attribute.device, command.attribute
    if is_heard(command, now):
        value = formatting.value_text(attribute.value, attribute.unit)
        return f"{device} still says {attribute.name} is {value}."
    silent = f"{device} has told nothing since it was sent."
    return f"{silent} {command.error}" if command.error else silent
