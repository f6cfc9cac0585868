"""Prove the same on a machine whose clock jumps: the ledger stays true, and nothing is hidden or
blocked once the clock is right again.

The clock is ten hours ahead, nine behind, never set (1970) or far ahead (2038), with the database's
or without it; the home's days have 23 and 25 hours. A true clock goes beside it.
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from core.models import Attribute, Observation, Silence, Site
from core.tasks import runs
from core.tasks.events.outbox import publishing
from tests.soak import ledger
from tests.soak.kills import let_clock_of_the_database_pass
from tests.soak.ledger import Ledger

MINUTE = timedelta(minutes=1)
TWO_LEASES = timedelta(seconds=2 * runs.LEASE_SECONDS)
TWO_INTERVALS = 20 * MINUTE
"""So much a jump may add to the time in which nothing was decided."""
BEGINNINGS = (
    datetime(2026, 3, 28, 22, 30, tzinfo=UTC),  # before a night of 23 hours in Berlin
    datetime(2026, 10, 24, 22, 30, tzinfo=UTC),  # and of 25
)
JUMPS = {
    "10 h ahead": lambda true: timedelta(hours=10),
    "9 h behind": lambda true: timedelta(hours=-9),
    "in 1970": lambda true: datetime(1970, 1, 1, 1, tzinfo=UTC) - true,
    "in 2038": lambda true: datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC) - true,
}


class JumpingClock(Ledger):
    """The ledger's machine with a clock that is wrong at times."""

    def begins_at(self):
        self.jumps = 0
        self.wrong_by = self.database_wrong_by = self.home.wrong_by = timedelta()
        self.is_polled = False
        self.lease_left_at = {}
        self.lengths, self.first_seen = {}, {}
        with publishing():
            Site.objects.update_or_create(pk=1, defaults={"zone": "Europe/Berlin"})
        # One after the other: the summer of one machine is the winter of the next.
        ledger.TALLY.machines += 1
        return BEGINNINGS[ledger.TALLY.machines % len(BEGINNINGS)]

    def true_now(self):
        return timezone.now() - self.wrong_by

    def least_undecided(self, truth):
        return super().least_undecided(truth) - self.jumps * TWO_INTERVALS

    # What happens

    @rule(jump=st.sampled_from(sorted(JUMPS)), with_database=st.booleans())
    def the_clock_jumps(self, jump, with_database):
        self.set_clock(JUMPS[jump](self.true_now()), with_database)

    @rule()
    def the_clock_is_set_right(self):
        self.set_clock(timedelta(), True)

    def set_clock(self, wrong_by, with_database):
        ledger.TALLY.steps += 1
        ledger.TALLY.jumps += 1
        self.jumps += 1
        self.clock.shift(wrong_by - self.wrong_by)
        self.wrong_by = self.home.wrong_by = wrong_by
        self.is_polled = False
        if with_database:
            let_clock_of_the_database_pass(wrong_by - self.database_wrong_by)
            self.database_wrong_by = wrong_by

    @rule(task=st.sampled_from([runs.POLL, runs.DECIDE]))
    def a_run_dies_and_leaves_its_lease(self, task):
        ledger.TALLY.steps += 1
        try:
            with self.allowed(task):
                runs.begin(task)
        finally:
            self.lease_left_at[task] = self.true_now()

    def poll(self):
        with self.allowed(runs.POLL):
            super().poll()
            self.is_polled = True

    def decide(self):
        with self.allowed(runs.DECIDE):
            return super().decide()
        return []

    def allowed(self, task):
        return _Allowed(self, task)

    def quieten(self):
        self.set_clock(timedelta(), True)
        self.let_pass(TWO_LEASES)
        super().quieten()
        for truth in self.truths:
            switch = Attribute.objects.get(pk=truth.switch_pk)
            assert switch.value is self.plug(truth).on, f"{switch} is not what was read last"
            assert timezone.now() - switch.heard_at < MINUTE, f"{switch} seems not to be heard"
        self.nothing_recorded_is_hidden()

    # What must hold

    @invariant()
    def nothing_recorded_is_hidden(self):
        """Once the clock is right and one poll was made by it."""
        if not hasattr(self, "checked") or not self.is_polled or self.wrong_by:
            return
        for silence in Silence.objects.all():
            hidden = Observation.objects.filter(
                attribute=silence.attribute_id,
                observed_at__gt=silence.starts_at,
                observed_at__lt=silence.ends_at,
            )
            assert not hidden.exists(), f"{silence} hides {list(hidden)}"
        ahead = Silence.objects.filter(ends_at__gt=timezone.now() + MINUTE)
        assert not ahead.exists(), f"silences of the future: {list(ahead)}"
        late = Attribute.objects.filter(observed_at__gt=timezone.now() + 6 * MINUTE)
        assert not late.exists(), f"values of the future: {list(late)}"

    def note_lengths(self, commands):
        """Note how much each plug had shown and done before a command was first seen."""
        for pk, command in commands.items():
            if pk not in self.first_seen:
                self.first_seen[pk] = (self.jumps, self.lengths.get(command.attribute_id, (0, 0)))
        for truth in self.truths:
            plug = self.plug(truth)
            self.lengths[truth.switch_pk] = (len(plug.shown), len(plug.changes))

    def check_writes(self, commands):
        self.note_lengths(commands)
        # What was ordered in 1970 is pruned, as everything that old is.
        kept_since = timezone.now() - timedelta(days=settings.KEEP_DAYS)
        written = [
            write
            for write in self.home.written
            if write.command in commands or write.at > kept_since
        ]
        self.home.written[:] = written
        super().check_writes(commands)

    def was_changed_between(self, command):
        jumps, (_, changes) = self.first_seen[command.pk]
        if jumps == self.jumps:
            return super().was_changed_between(command)
        truth = next(truth for truth in self.truths if truth.switch_pk == command.attribute_id)
        return (not command.value) in [on for _, on in self.plug(truth).changes[changes:]]

    def was_shown(self, command):
        jumps, (shown, _) = self.first_seen[command.pk]
        if jumps == self.jumps:
            return super().was_shown(command)
        # Times of before and after a jump do not compare: in the order in which things happened.
        truth = next(truth for truth in self.truths if truth.switch_pk == command.attribute_id)
        return command.value in [on for _, on in self.plug(truth).shown[shown:]]


class _Allowed:
    """Lets a run be refused for a reason that is there: a clock that was never set, or the lease of
    a process that died less than two leases ago."""

    def __init__(self, machine, task):
        self.machine, self.task = machine, task

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, runs.ClockNotSet):
            assert timezone.now() < runs.FIRST_DAY, error
        elif isinstance(error, runs.AlreadyRunning):
            left_at = self.machine.lease_left_at.get(self.task)
            assert left_at is not None, f"nobody runs {self.task}: {error}"
            waited = self.machine.true_now() - left_at
            assert waited <= TWO_LEASES, f"{self.task} is blocked since {waited}"
        else:
            return False
        ledger.TALLY.blocked += 1
        return True
