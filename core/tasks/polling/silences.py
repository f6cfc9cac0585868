"""Note for how long attributes were not heard, so that nobody takes a gap for a lasting value."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import F, Max

from core.models import Attribute, Device, Observation, Silence
from core.models.freshness import late_after
from core.tasks.polling.statements import ROLL_UP_AGAIN, ChangedPast


class Silences:
    """The silences that end with the readings of one batch."""

    def __init__(self) -> None:
        self.late_after = late_after()
        self._heard: dict[int, datetime] = {}
        self._ended: list[Silence] = []

    def hear(
        self,
        attribute_pk: int,
        observed_at: datetime,
        asked_at: datetime,
        silent_since: datetime | None,
    ) -> None:
        """Note that the attribute was heard, and the silence before if that was long.

        `silent_since` is when it was last heard, as far as that is stored. A value that the vendor
        observed in the silence ends it: it is known from then on.
        """
        # What this batch has heard before is newer than what is stored.
        heard_at = self._heard.get(attribute_pk, silent_since)
        if heard_at and asked_at - heard_at > self.late_after:
            ends_at = observed_at if heard_at < observed_at < asked_at else asked_at
            self._ended.append(
                Silence(attribute_id=attribute_pk, starts_at=heard_at, ends_at=ends_at)
            )
        self._heard[attribute_pk] = asked_at

    def write(self) -> None:
        """Store the silences. Call it before the observations of the batch are stored."""
        if not self._ended:
            return
        self._cut()
        _store(self._ended)

    def _cut(self) -> None:
        """Let silences begin after what is stored already: a clock that was behind wrote earlier
        times of hearing, and a silence hides what it covers."""
        since = min(silence.starts_at for silence in self._ended)
        until = max(silence.ends_at for silence in self._ended)
        stored = Observation.objects.filter(
            attribute__pk__among={silence.attribute_id for silence in self._ended},
            observed_at__gt=since,
            observed_at__lt=until,
        )
        newest = dict(
            stored.order_by().values_list("attribute").annotate(newest=Max("observed_at"))
        )
        for silence in self._ended:
            last = newest.get(silence.attribute_id, silence.starts_at)
            silence.starts_at = max(silence.starts_at, last)
        self._ended = [
            silence
            for silence in self._ended
            if silence.ends_at - silence.starts_at > self.late_after
        ]


def note_pushed_silences(
    attributes: Iterable[Attribute], times: Mapping[int, list[datetime]], due: Mapping[int, Device]
) -> None:
    """Store the silences that pushed readings end, before the readings are.

    `times` are those of the readings by attribute, `due` the devices that push. Readings from
    before what is stored end the silence that would hide them.
    """
    ended: list[Silence] = []
    changed: set[int] = set()
    for attribute in attributes:
        before = attribute.observed_at
        if before is None:
            continue
        late = [time for time in times[attribute.pk] if time < before]
        newer = [time for time in times[attribute.pk] if time > before]
        if late:
            silences = Silence.objects.filter(
                attribute=attribute, starts_at__lt=max(late), ends_at__gt=min(late)
            )
            roll_up_again(silences)
            if silences.delete()[0]:
                changed.add(attribute.device_id)
        device = due.get(attribute.device_id)
        if newer and device and device.pushed_at and device.due_at and min(newer) > device.due_at:
            starts_at = max(before, device.pushed_at)
            ended.append(Silence(attribute=attribute, starts_at=starts_at, ends_at=min(newer)))
            changed.add(attribute.device_id)
    _store(ended)
    # The readings may yet be refused. The devices are locked already.
    if changed:
        devices = Device.objects.filter(pk__among=changed)
        devices.update(history_version=F("history_version") + 1)


def roll_up_again(silences: Iterable[Silence]) -> None:
    """Let the hours since these began be summed up again. Call it with their devices locked."""
    ROLL_UP_AGAIN.run([ChangedPast(one.attribute_id, one.starts_at) for one in silences])


def _store(silences: list[Silence]) -> None:
    roll_up_again(silences)
    # One that begins at the same time may be stored: then only its end is moved.
    Silence.objects.bulk_create(
        silences,
        update_conflicts=True,
        unique_fields=["attribute", "starts_at"],
        update_fields=["ends_at"],
    )
