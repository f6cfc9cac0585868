"""Hours say what the observations say, whatever comes late, and go on saying it without them."""

import random
from datetime import UTC, datetime, timedelta
from itertools import count
from time import process_time

import pytest
from django.core.management import call_command
from django.utils import timezone

from core.models import Attribute, HourlyStatistics, Observation, Silence
from core.models.attribute import ROLL_UP_EVERY
from core.models.hourly import hour_of
from core.readings import Reading
from core.tasks import prune, roll_up
from core.tasks.backfilling.closing import close
from core.tasks.backfilling.gaps import Span
from core.tasks.events.outbox import publishing
from core.tasks.observations import spans, summed_up_until
from core.tasks.polling.record import GatewayAnswer, record
from core.tasks.polling.silences import note_pushed_silences
from core.tasks.receive_readings import receive_readings
from core.tasks.retention import Kept
from core.tasks.runs import running
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def power(time_machine):
    time_machine.move_to(NOON, tick=False)
    return make_device(make_gateway()).attributes.get(name="power")


def tell(power, value, observed_at=None, **fields):
    """Store one reading as the vendor's answer of now."""
    reading = Reading(power.device.vendor_id, "power", value, observed_at)
    gateway, ids = power.device.gateway_id, [power.device.vendor_id]
    with quietly():
        record([GatewayAnswer(gateway, timezone.now(), ids, [reading], **fields)])


def tell_past(power, value, observed_at):
    tell(power, value, observed_at, past=True, tells_health=False)


def push(power, value, observed_at):
    attribute = Attribute.objects.select_related("device").get(pk=power.pk)
    with publishing():
        note_pushed_silences([attribute], {power.pk: [observed_at]}, {})
    tell(power, value, observed_at, pushed=True)


def grid(start, end, every=HOUR):
    start = hour_of(start)
    return [start + place * every for place in range((end - start) // every + 2)]


def by_hours(power, times):
    power.refresh_from_db()
    return spans(power, times, timezone.now(), with_counts=True)


def by_observations(power, times):
    power.refresh_from_db()
    power.rolled_until = power.pruned_until = None
    return spans(power, times, timezone.now(), with_counts=True)


def same(hours, raw):
    assert len(hours) == len(raw)
    for one, other in zip(hours, raw, strict=True):
        assert one[:2] == other[:2]
        assert one.mean == (None if other.mean is None else pytest.approx(other.mean, rel=1e-9))
        assert (one.minimum, one.maximum) == (other.minimum, other.maximum)
        assert one.coverage == pytest.approx(other.coverage, abs=2e-6)
        assert one.observation_count == other.observation_count
        expected = other.minutes_on
        assert one.minutes_on == (None if expected is None else pytest.approx(expected, abs=2e-3))


def same_as_observations(power):
    """All that is before the mark is as the observations say, by the hour and longer."""
    for every in (HOUR, 5 * HOUR, DAY):
        times = grid(NOON - 3 * DAY, timezone.now(), every)
        same(by_hours(power, times), by_observations(power, times))
    power.refresh_from_db()
    times = grid(NOON - 3 * DAY, timezone.now())
    times = [at for at in times if at < summed_up_until(power, times)]
    numbers = HourlyStatistics.objects.numbers_at([power.pk], times)[power.pk]
    assert numbers == Observation.objects.all().sample([power.pk], times)[power.pk]


class Life:
    """What may happen to an attribute, one thing after the other, chosen by chance."""

    def __init__(self, power, seed, time_machine):
        self.power, self.chance, self.clock = power, random.Random(seed), time_machine

    def go_on(self):
        happens = [self.hear, self.hear, self.hear, self.rest, self.stay, self.late]
        happens += [self.pushed, self.found, self.roll_up, self.roll_up]
        self.chance.choice(happens)()

    def earlier(self):
        since = NOON - DAY
        return since + (timezone.now() - since) * self.chance.random()

    def value(self):
        return self.chance.choice([0.0, 0.0, 5.0, 5.0, -3.25, 1e5])

    def wait(self, longest):
        seconds = self.chance.uniform(1, longest.total_seconds())
        self.clock.move_to(timezone.now() + timedelta(seconds=seconds), tick=False)

    def hear(self):
        for _ in range(self.chance.randint(1, 6)):
            self.wait(20 * MINUTE)
            tell(self.power, self.value())

    def rest(self):
        self.wait(2 * DAY)

    def stay(self):
        """The same old observation is told again and again."""
        for _ in range(self.chance.randint(5, 30)):
            self.wait(20 * MINUTE)
            tell(self.power, 5.0, NOON - HOUR)

    def late(self):
        tell_past(self.power, self.value(), self.earlier())

    def pushed(self):
        push(self.power, self.value(), self.earlier())

    def found(self):
        """The history of the vendor knows something of a time."""
        since = self.earlier()
        span = Span(since, min(timezone.now(), since + 7 * HOUR))
        with publishing():
            close(self.power.device_id, span, {"power": [Span(since + HOUR, since + 3 * HOUR)]})

    def roll_up(self):
        roll_up.roll_up()


@pytest.mark.parametrize("seed", range(6))
def test_hours_are_as_the_observations_at_every_moment(power, seed, time_machine):
    life = Life(power, seed, time_machine)
    for _ in range(25):
        life.go_on()
        same_as_observations(power)
    roll_up.roll_up()
    same_as_observations(power)


@pytest.mark.parametrize("seed", range(3))
def test_spans_stay_the_same_when_the_observations_are_pruned(power, seed, time_machine):
    life = Life(power, seed, time_machine)
    for _ in range(40):
        life.go_on()
    life.wait(3 * DAY)
    tell(power, 1.0)
    grids = [grid(NOON - 2 * DAY, timezone.now(), every) for every in (HOUR, 5 * HOUR, DAY)]
    before = [by_observations(power, times) for times in grids]
    prune.prune(days=1)
    power.refresh_from_db()
    assert power.pruned_until == hour_of(timezone.now() - DAY)
    for times, raw in zip(grids, before, strict=True):
        same(by_hours(power, times), raw)
    assert not Silence.objects.filter(ends_at__lt=power.pruned_until).exists()


def test_what_comes_late_after_pruning_changes_only_what_is_not_pruned(power, time_machine):
    for place in range(250):
        time_machine.move_to(NOON + place * 10 * MINUTE, tick=False)
        tell(power, float(place))
    prune.prune(days=1)
    power.refresh_from_db()
    times = grid(NOON, timezone.now())
    before = by_hours(power, times)
    tell_past(power, 500.0, power.pruned_until - 3 * HOUR - MINUTE)
    tell_past(power, 700.0, power.pruned_until + 2 * HOUR + MINUTE)
    roll_up.roll_up()
    after = by_hours(power, times)
    known = power.pruned_until
    assert [one for one in after if one.ends_at <= known] == [
        one for one in before if one.ends_at <= known
    ]
    assert max(one.maximum or 0 for one in after) == 700


def test_an_hour_holds_what_was_in_it(power, time_machine):
    for minutes, value in ((0, 4.0), (10, 0.0), (20, 2.0), (30, 2.0)):
        time_machine.move_to(NOON + minutes * MINUTE, tick=False)
        tell(power, value)
    Silence.objects.create(
        attribute=power, starts_at=NOON + 30 * MINUTE, ends_at=NOON + 50 * MINUTE
    )
    time_machine.move_to(NOON + 61 * MINUTE, tick=False)
    Attribute.objects.filter(pk=power.pk).update(heard_at=timezone.now())
    time_machine.move_to(NOON + 10 * HOUR, tick=False)
    roll_up.roll_up()
    hour = HourlyStatistics.objects.get(attribute=power, starts_at=NOON)
    assert (hour.observation_count, hour.mean) == (4, 2.0)
    minutes = 60_000_000
    assert (hour.known_microseconds, hour.on_microseconds) == (40 * minutes, 30 * minutes)
    assert (hour.minimum, hour.maximum, hour.mean_over_time) == (0.0, 4.0, 2.0)
    assert (hour.last_number, hour.is_known_at_end) == (2.0, True)


def test_a_door_that_does_not_move_costs_two_rows(power, time_machine):
    tell(power, 1.0)
    for day in range(1, 100):
        time_machine.move_to(NOON + day * DAY - MINUTE, tick=False)
        Attribute.objects.filter(pk=power.pk).update(heard_at=timezone.now())
    assert roll_up.roll_up().written <= 5
    assert HourlyStatistics.objects.count() <= 2
    same_as_observations(power)


def test_the_largest_numbers_have_a_mean(power, time_machine):
    for minutes in range(0, 70, 10):
        at = NOON + minutes * MINUTE
        Observation.objects.create(attribute=power, observed_at=at, number=1.7e308)
    Attribute.objects.filter(pk=power.pk).update(heard_at=NOON + HOUR)
    time_machine.move_to(NOON + 3 * HOUR, tick=False)
    roll_up.roll_up()
    hour = HourlyStatistics.objects.earliest("starts_at")
    assert hour.mean == pytest.approx(1.7e308)
    assert hour.mean_over_time == pytest.approx(1.7e308)


def test_what_is_told_again_and_again_is_summed_up_once(power, time_machine):
    tell(power, 5.0, NOON - MINUTE)
    time_machine.move_to(NOON + 10 * HOUR, tick=False)
    tell(power, 6.0)
    roll_up.roll_up()
    power.refresh_from_db()
    mark = power.rolled_until
    tell_past(power, 5.0, NOON - MINUTE)
    power.refresh_from_db()
    assert power.rolled_until == mark
    tell_past(power, 5.0, NOON)
    power.refresh_from_db()
    assert power.rolled_until == NOON


def test_a_poll_sums_up_and_deletes(power, settings, time_machine):
    settings.KEEP_DAYS = 30
    for place in range(5):
        time_machine.move_to(NOON + place * HOUR, tick=False)
        tell(power, float(place))
    time_machine.move_to(NOON + 50 * DAY, tick=False)
    tell(power, 9.0)
    with running("poll") as lease:
        assert prune.prune_a_little(lease)["observations"] == 4
    power.refresh_from_db()
    assert power.roll_up_at == NOON + 50 * DAY + ROLL_UP_EVERY


@pytest.fixture
def one_visit(monkeypatch):
    """A poll has time for one."""
    monkeypatch.setattr(roll_up, "monotonic", count(step=0.9).__next__)
    monkeypatch.setattr(roll_up, "SECONDS_A_POLL", 1.0)


@pytest.mark.usefixtures("one_visit")
def test_a_poll_that_has_no_time_left_deletes_nothing_that_is_not_summed_up(
    power, monkeypatch, settings, time_machine
):
    settings.KEEP_DAYS = 30
    for place in range(50):
        time_machine.move_to(NOON + place * HOUR, tick=False)
        tell(power, float(place))
    time_machine.move_to(NOON + 50 * DAY, tick=False)
    times = grid(NOON, NOON + 60 * HOUR)
    before = by_observations(power, times)
    monkeypatch.setattr(roll_up, "MOST_ROWS", 10)
    left = []
    for _ in range(9):
        with running("poll") as lease:
            prune.prune_a_little(lease)
        left.append(Observation.objects.count())
        same(by_hours(power, times), before)
    assert left[0] == 39
    assert left[-1] == 1


@pytest.mark.usefixtures("one_visit")
def test_a_poll_takes_those_first_whose_turn_came_first(power, monkeypatch, time_machine):
    monkeypatch.setattr(roll_up, "ATTRIBUTES_A_VISIT", 2)
    gateway = power.device.gateway
    for number in range(3):
        make_device(gateway, str(number))
    time_machine.move_to(NOON + ROLL_UP_EVERY, tick=False)
    later = NOON + 2 * ROLL_UP_EVERY
    for visited in (2, 4, 6, 8, 8):
        with running("poll") as lease:
            roll_up.roll_up_a_little(lease, Kept(NOON))
        assert Attribute.objects.filter(roll_up_at=later).count() == visited
    time_machine.move_to(later, tick=False)
    with running("poll") as lease:
        roll_up.roll_up_a_little(lease, Kept(NOON))
    assert Attribute.objects.filter(roll_up_at=later + ROLL_UP_EVERY).count() == 2


def tell_history(power, value, observed_at):
    tell_past(power, value, observed_at)
    span = Span(observed_at - 2 * HOUR, observed_at + 2 * HOUR)
    with publishing():
        close(power.device_id, span, {"power": [Span(observed_at, span.until)]})


def send(power, value, observed_at):
    said = {"device": power.device.vendor_id, "attribute": "power", "value": value}
    assert receive_readings(power.device.gateway_id, [{**said, "time": observed_at.isoformat()}])


@pytest.mark.parametrize("store", [tell, tell_past, tell_history, push, send])
def test_whoever_stores_something_late_lets_its_hours_be_made_anew(power, store, time_machine):
    """A poll, a vendor's history, backfill, what is heard, and what is sent to the API."""
    for place in (*range(6), *range(12, 18)):
        time_machine.move_to(NOON + place * HOUR, tick=False)
        tell(power, float(place))
    roll_up.roll_up()
    power.refresh_from_db()
    mark = power.rolled_until
    store(power, 500.0, NOON + 9 * HOUR + 20 * MINUTE)
    power.refresh_from_db()
    assert power.rolled_until < mark
    same_as_observations(power)
    roll_up.roll_up()
    same_as_observations(power)
    assert HourlyStatistics.objects.get(starts_at=NOON + 9 * HOUR).last_number == 500


def test_a_stray_value_of_long_ago_costs_no_walk_through_the_years(power, time_machine):
    tell(power, 5.0)
    time_machine.move_to(NOON + 5 * HOUR, tick=False)
    tell(power, 6.0)
    roll_up.roll_up()
    stray = datetime(2000, 1, 1, tzinfo=UTC)
    tell_past(power, 1.0, stray + MINUTE)
    Silence.objects.create(attribute=power, starts_at=stray + HOUR, ends_at=NOON)
    began = process_time()
    assert roll_up.roll_up().written <= 6
    assert process_time() - began < 1
    same_as_observations(power)


def test_an_hour_of_more_values_than_a_visit_takes_is_summed_up_at_once(
    power, monkeypatch, time_machine
):
    monkeypatch.setattr(roll_up, "MOST_ROWS", 5)
    for minute in range(150):
        time_machine.move_to(NOON + minute * MINUTE, tick=False)
        tell(power, float(minute))
    time_machine.move_to(NOON + 5 * HOUR, tick=False)
    roll_up.roll_up()
    same_as_observations(power)
    counts = HourlyStatistics.objects.order_by("starts_at").values_list("observation_count")
    assert [count for (count,) in counts] == [60, 60, 30]


def test_of_some_attributes_values_are_kept_for_less_long(power, settings, time_machine):
    settings.KEEP_DAYS, settings.KEEP_DAYS_OF = 30, {"power": 2}
    on = power.device.attributes.get(name="on")
    for place in range(20):
        time_machine.move_to(NOON + place * DAY, tick=False)
        tell(power, float(place))
        with quietly():
            Observation.objects.create(attribute=on, observed_at=timezone.now(), number=1.0)
    prune.prune()
    assert Observation.objects.filter(attribute=power).count() == 3
    assert Observation.objects.filter(attribute=on).count() == 20
    assert Kept(NOON).values_since("power_2") == NOON - 2 * DAY


def test_old_hours_go_but_for_what_lasts(power, settings):
    settings.KEEP_DAYS, settings.KEEP_HOURLY_DAYS = 30, 60
    for days in (90, 80, 50):
        HourlyStatistics.objects.create(
            attribute=power,
            starts_at=timezone.now() - days * DAY,
            observation_count=1,
            known_microseconds=1,
            on_microseconds=1,
            is_known_at_end=True,
        )
    assert prune.prune() == {"hours": 1}
    assert HourlyStatistics.objects.count() == 2


def test_the_command_says_how_many_hours_it_wrote(power, time_machine, capsys):
    tell(power, 1.0)
    time_machine.move_to(NOON + 5 * HOUR, tick=False)
    tell(power, 2.0)
    call_command("roll_up")
    assert capsys.readouterr().out == "Summed up: 1 hour written.\n"


def test_days_of_a_clock_half_an_hour_off_divide_an_hour(power, time_machine):
    for place in range(30):
        time_machine.move_to(NOON + place * HOUR, tick=False)
        tell(power, 6.0)
    Silence.objects.all().delete()
    prune.prune(days=1)
    power.refresh_from_db()
    times = [NOON + 30 * MINUTE, NOON + 3 * HOUR + 30 * MINUTE]
    (span,) = spans(power, times, timezone.now(), with_counts=True)
    assert (span.mean, span.coverage) == (6.0, 1.0)
    assert (span.minutes_on, span.observation_count) == (180.0, None)


def test_observations_are_all_there_until_they_are_old(power):
    tell(power, 1.0)
    prune.prune()
    assert Observation.objects.count() == 1
