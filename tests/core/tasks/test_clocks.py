"""Each row of docs/clocks.md: what a wrong clock wrote neither blocks nor hides anything once the
clock is right again."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from core.feeds import Signal
from core.live import channels
from core.models import (
    Alert,
    AlertMessage,
    Attribute,
    Calibration,
    Device,
    DeviceCommand,
    FeedSource,
    Freshness,
    Gateway,
    Lease,
    Observation,
    Plan,
    Presence,
    Receipt,
    Relay,
    Series,
    Silence,
)
from core.models.access import Access, Right
from core.models.alert import Fate
from core.models.device_command import State
from core.readings import Source
from core.simulator import Fault
from core.tasks import decide, gateways, poll, presence, relay, roll_up, runs
from core.tasks.alerts.deliver import deliver
from core.tasks.alerts.ledger import addresses
from core.tasks.decisions import plans
from core.tasks.decisions.settle import settle_plans
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.calibrate import calibrate
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region
from core.tasks.observations import spans
from core.tasks.orders import holds, send
from core.tasks.orders.once import order_once
from core.tasks.polling.clock import LONGEST_TURN
from core.tasks.polling.rate_limit import pace_for
from core.tasks.send_alerts import send_alerts
from core.vendors import RateLimit
from core.views.decisions import decided
from core.views.devices import COMMANDS_SHOWN
from tests.core.raw_server import answer
from tests.core.tasks.alerts.receivers import hook_server
from tests.core.tasks.local_feed import HALF_HOUR, said
from tests.soak.ledger import scripted_rules
from tests.soak.rules.scripted import SCRIPT

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
JUMPS = {
    "10 h ahead": 10 * HOUR,
    "9 h behind": -9 * HOUR,
    "in 1970": datetime(1970, 1, 1, 0, 5, tzinfo=UTC) - NOON,
    "in 2038": datetime(2038, 1, 19, 3, 14, tzinfo=UTC) - NOON,
}
LOCAL = Region("local", "13")
TESTS: dict[str, list[Any]] = {}


def of(row):
    """Note which row of docs/clocks.md a test is of."""

    def noted(test):
        TESTS.setdefault(row, []).append(test)
        return test

    return noted


@dataclass
class Clock:
    """The machine's clock. The database's has no idea of it: there, times are written wrong."""

    machine: Any
    wrong_by: timedelta

    def is_wrong(self, later=timedelta()):
        self.machine.move_to(NOON + self.wrong_by + later, tick=True)

    def is_right(self, minutes=10):
        self.machine.move_to(NOON + minutes * MINUTE, tick=True)


@pytest.fixture(params=JUMPS.values(), ids=JUMPS)
def clock(request, time_machine):
    clock = Clock(time_machine, request.param)
    clock.is_right(minutes=0)
    return clock


@pytest.fixture
def home(heater, simulator, clock):
    """A heater, polled by the right clock."""
    poll.poll_devices(force=True)
    return heater


def ask(device):
    """Poll as a person does who presses a button, whatever the clock says."""
    return poll.poll_devices(device.gateway_id, force=True)


def order(device, value=True, source=Source.HUMAN):
    switch = device.attributes.get(name="on")
    return send.order(switch.pk, value, source=source, reason="a test")


def test_every_row_has_a_test():
    lines = Path(settings.BASE_DIR, "docs", "clocks.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert list(TESTS) == rows[2:]


@of("leases")
def test_a_lease_of_a_dead_process_keeps_nobody_out(clock):
    expires_at = Now() + clock.wrong_by + timedelta(seconds=runs.LEASE_SECONDS)
    Lease.objects.create(task="poll", holder="a dead process", expires_at=expires_at)
    with runs.running("poll") as holding:
        assert holding.token == 1


@of("the lease of the hosted relay")
def test_a_relay_that_died_keeps_no_other_out(clock):
    relay.take()
    Relay.objects.update(expires_at=Now() + clock.wrong_by + relay.LEASE)
    assert relay.take()


@of("the period of the relay's channels")
def test_channels_are_right_again_with_the_clock(clock):
    everybody = Access(frozenset(Right))
    clock.is_wrong()
    wrong = channels.channel_of(None, channels.now())
    clock.is_right()
    right = channels.channel_of(None, channels.now())
    assert channels.may_subscribe(everybody, right, channels.now())
    assert not channels.may_subscribe(everybody, wrong, channels.now())


@of("claims of gateways")
def test_a_claim_of_a_gateway_keeps_nobody_out(home, clock):
    Gateway.objects.update(claimed_until=Now() + clock.wrong_by + MINUTE)
    assert poll.poll_devices().asked.gateways == 1


@of("notes that a gateway is listened to (`listened_until`)")
def test_a_gateway_that_was_listened_to_by_a_wrong_clock_is_polled(home, clock):
    Gateway.objects.update(listened_until=Now() + clock.wrong_by + MINUTE)
    for slot in range(6):
        clock.is_right(minutes=10 * (slot + 1))
        assert poll.poll_devices().asked.gateways == 1


@of("claims of device commands")
def test_a_claim_of_a_command_does_not_hold_it_up(home, clock):
    command = order(home)
    send._claim([command.pk])  # and the process is killed
    DeviceCommand.objects.update(claimed_until=Now() + clock.wrong_by + send.CLAIM)
    clock.is_right(minutes=1)
    send.carry_on()
    command.refresh_from_db()
    assert command.state != State.SENDING


@of("rate limits of vendors (`next_call_at`, `next_read_at`)")
def test_a_call_reserved_by_a_wrong_clock_holds_up_none(home, clock):
    moment = Now() + clock.wrong_by
    Gateway.objects.update(next_call_at=moment, next_read_at=moment)
    rate_limit = RateLimit(per=timedelta(seconds=0.3), devices_a_call=10)
    pace_for(home.gateway_id, rate_limit, is_command=False)()
    gateway = Gateway.objects.annotate(now=Now()).get()
    assert abs(gateway.next_call_at - gateway.now) < MINUTE


@of("presences on pages")
def test_a_presence_of_a_dead_process_is_over(home, clock):
    expires_at = Now() + clock.wrong_by + 30 * timedelta(seconds=1)
    Presence.objects.create(key="a", device=home, name="anna", expires_at=expires_at)
    assert not Presence.objects.here().exists()
    assert presence.forget() == 1


@of("`retry_at`, `asked_at` and `answered_at` of gateways")
def test_a_gateway_that_failed_by_a_wrong_clock_is_asked(home, clock, simulator):
    clock.is_wrong()
    simulator.devices[0].faults = [Fault("503")]
    for _ in range(4):
        ask(home)
    simulator.devices[0].faults = []
    clock.is_right()
    assert poll.poll_devices().asked.gateways == 1
    gateway = Gateway.objects.get()
    assert gateway.failures == 0 and gateway.asked_at <= gateway.answered_at <= timezone.now()


@of("`retry_at` and `fetched_at` of feeds")
def test_a_feed_that_failed_by_a_wrong_clock_is_asked(clock, source):
    clock.is_wrong()
    source.answers["13"] = answer(b"", "503 Service Unavailable")
    for _ in range(3):
        fetch_regions([LOCAL], force=True)
    source.answers["13"] = said(NOON, [5], NOON)
    clock.is_right()
    assert fetch_regions([LOCAL]).forecasts == 1


@of("`retry_at` and `fetched_at` of feeds")
def test_a_feed_that_answered_by_a_wrong_clock_is_asked_again_and_its_failures_are_seen(
    clock, source
):
    clock.is_wrong()
    source.answers["13"] = said(timezone.now() - HOUR, [5])
    fetch_regions([LOCAL], force=True)
    assert FeedSource.objects.get().fetched_at
    source.answers["13"] = answer(b"", "503 Service Unavailable")
    clock.is_right()
    for _ in range(2):
        assert len(fetch_regions([LOCAL]).failed) == 1
    stored = FeedSource.objects.get()
    assert stored.failures == 2 and stored.retry_at > timezone.now()


@of("latest values, `heard_at`, `measured_at`, `pushed_at` (freshness)")
def test_a_poll_by_a_wrong_clock_does_not_outrank_the_next(home, clock, simulator):
    clock.is_wrong()
    ask(home)
    simulator.devices[0].on = True
    clock.is_right()
    poll.poll_devices()
    device, now = Device.objects.get(), timezone.now()
    assert device.freshness(now) is Freshness.FRESH and device.heard_at <= now
    assert device.attributes.get(name="on").value is True


@of("silences")
def test_no_silence_hides_what_is_stored_or_is_to_come(home, clock):
    clock.is_right(minutes=10)
    poll.poll_devices()
    clock.is_wrong(later=20 * MINUTE)
    ask(home)
    for minutes in (30, 40):
        clock.is_right(minutes)
        poll.poll_devices()
    now = timezone.now()
    power = home.attributes.get(name="power")
    seen = Observation.objects.filter(attribute=power, observed_at__range=(NOON, now))
    times = list(seen.values_list("observed_at", flat=True))
    assert len(times) >= 4
    assert None not in Observation.objects.all().sample([power.pk], times)[power.pk]
    assert not Silence.objects.filter(ends_at__gt=now).exists()


@of("how far a history was asked for (`asked_until`)")
def test_the_history_of_a_silence_by_a_right_clock_is_asked_for(home, clock):
    for later in (0 * HOUR, 3 * HOUR):
        clock.is_wrong(later=later)
        with suppress(runs.ClockNotSet):
            poll.poll_devices(force=True)
    for minutes in (10, 200):
        clock.is_right(minutes)
        poll.poll_devices(force=True)
    now = timezone.now()
    [silence] = Silence.objects.filter(attribute__name="power", starts_at__gte=NOON + 10 * MINUTE)
    assert silence.ends_at <= now
    assert silence.asked_until == silence.ends_at


@of("until when hours are summed up (`rolled_until`), and when again (`roll_up_at`)")
def test_hours_that_were_summed_up_by_a_wrong_clock_are_made_anew(home, clock):
    clock.is_right(minutes=300)
    poll.poll_devices(force=True)
    for later in (20 * MINUTE, 5 * HOUR):
        clock.is_wrong(later)
        ask(home)
        roll_up.roll_up()
    for minutes in (310, 320, 600, 800):
        clock.is_right(minutes)
        poll.poll_devices(force=True)
    assert home.attributes.latest("roll_up_at").roll_up_at <= timezone.now() + LONGEST_TURN
    roll_up.roll_up()
    power, times = home.attributes.get(name="power"), [NOON + place * HOUR for place in range(15)]
    assert power.rolled_until > NOON + 10 * HOUR
    by_hours = spans(power, times, timezone.now())
    power.rolled_until = None
    assert by_hours == spans(power, times, timezone.now())


@of("what confirms a command (`heard_at`)")
def test_what_was_read_by_a_wrong_clock_confirms_no_later_command(home, clock, simulator):
    clock.is_wrong()
    simulator.devices[0].on = True
    ask(home)
    simulator.devices[0].on = False
    simulator.devices[0].faults = [Fault("lying")]
    clock.is_right()
    [command] = send.send([order(home).pk])
    assert command.state != State.CONFIRMED


@of("who changed a device (`expected_after`)")
def test_what_our_order_changed_by_a_wrong_clock_is_no_persons_change(home, clock, simulator):
    gateways.change_device(home.pk, rule="awesome")
    clock.is_wrong()
    send.send([order(home, source=Source.RULE).pk])
    assert simulator.devices[0].on
    clock.is_right()
    poll.poll_devices()
    assert Device.objects.get().held_at is None


@of("holds")
def test_a_hold_lasts_no_longer_than_it_was_meant(home, clock):
    clock.is_wrong()
    holds.hold(home.pk, timezone.now() + 2 * HOUR, "a test")
    clock.is_right()
    poll.poll_devices()
    device, now = Device.objects.get(), timezone.now()
    assert device.held_at <= now and device.held_until <= now + 2 * HOUR
    if clock.wrong_by > timedelta():
        assert device.is_held(now)


@of("`expires_at` of commands")
def test_an_order_by_a_wrong_clock_is_not_sent_and_keeps_no_newer_one_waiting(
    home, clock, simulator
):
    clock.is_wrong()
    order(home)
    clock.is_right()
    poll.poll_devices()
    # One of 1970 is too old to be kept.
    others = DeviceCommand.objects.exclude(state=State.EXPIRED)
    assert not others.exists() and simulator.devices[0].writes == 0
    [newer] = send.send([order(home).pk])
    assert newer.state == State.CONFIRMED


@of("`undecided_seconds` (fail-safe)")
def test_a_clock_that_jumps_makes_no_fail_safe(home, clock, simulator):
    with scripted_rules():
        gateways.change_device(home.pk, rule="scripted")
        SCRIPT["Heater"] = "on"
        decide.decide(home.pk)
        SCRIPT["Heater"] = "undecided"
        clock.is_wrong()
        ask(home)
        decide.decide(home.pk)
        for minutes in (10, 20, 30):
            clock.is_right(minutes)
            poll.poll_devices(force=True)
            [verdict] = decide.decide(home.pk)
            assert verdict.sentence == "no decision: the script says so"
    assert simulator.devices[0].on


PLANS = "`counted_until`, `made_at` and `settled_at` of plans"


@of(PLANS)
def test_minutes_are_counted_once_whatever_the_clock_said_between(home, clock, simulator):
    simulator.devices[0].on = True
    poll.poll_devices()
    switch = home.attributes.get(name="on")
    opens_at = timezone.now()
    row = Plan(device=home, opens_at=opens_at, deadline=NOON + 900 * HOUR, counted_until=opens_at)
    clock.is_wrong(later=5 * MINUTE)
    ask(home)
    plans.count([row], {home.pk: Attribute.objects.get(pk=switch.pk)}, timezone.now())
    for minutes in (10, 20):
        clock.is_right(minutes)
        poll.poll_devices()
        plans.count([row], {home.pk: Attribute.objects.get(pk=switch.pk)}, timezone.now())
    assert row.delivered == pytest.approx(20, abs=0.5)


@of(PLANS)
def test_a_plan_that_was_settled_before_its_time_is_settled_again(home, clock):
    gateways.change_device(home.pk, rule="cleanest_hours", options={"minutes": 60})
    decide.decide(home.pk)
    clock.is_wrong()
    settle_plans(timezone.now())
    clock.is_right()
    poll.poll_devices()
    decide.decide(home.pk)
    plan = Plan.objects.get()
    assert plan.settled_at is None and plan.deadline == NOON + 19 * HOUR
    settle_plans(plan.deadline + timedelta(days=4))
    plan.refresh_from_db()
    assert plan.settled_at == plan.deadline + timedelta(days=4)


@of(PLANS)
def test_the_page_shows_the_plan_of_today_not_one_of_a_wrong_clock(home, clock):
    gateways.change_device(home.pk, rule="cleanest_hours", options={"minutes": 60})
    clock.is_wrong()
    ask(home)
    decide.decide(home.pk)
    clock.is_right()
    poll.poll_devices()
    decide.decide(home.pk)
    device = Device.objects.get()
    everywhere = Access(frozenset(Right))
    shown = decided(device, list(device.attributes.all()), timezone.now(), everywhere)
    assert shown["planned"].plan.deadline == NOON + 19 * HOUR
    assert shown["planned"].plan.made_at <= timezone.now()


@of("`known_at` of forecasts and measurements")
def test_what_was_fetched_by_a_wrong_clock_is_known_from_the_next_fetch_on(clock, source):
    source.answers["13"] = [
        *said(NOON - 3 * HOUR, [1, 2, 3]),
        *said(NOON - HALF_HOUR, [9, 8, 7, 6], NOON - HALF_HOUR),
    ]
    clock.is_wrong()
    fetch_regions([LOCAL], force=True)
    clock.is_right()
    fetch_regions([LOCAL])
    known = AsOf(timezone.now())
    intensity = Signal.CARBON_INTENSITY
    ahead = known.outlook(LOCAL, intensity, NOON + 3 * HALF_HOUR)
    assert [slot.value for slot in ahead.slots] == [8, 7, 6]
    seen = known.measurements(LOCAL, intensity, NOON - 3 * HOUR, NOON)
    assert [slot.value for slot in seen] == [1, 2, 3]


@of("`fitted_at` of calibrations")
def test_what_was_learnt_by_a_wrong_clock_puts_the_next_off_for_a_day_at_most(clock):
    source = FeedSource.objects.create(feed="local", region="13")
    Series.objects.create(source=source, signal=Signal.CARBON_INTENSITY, unit="gCO2/kWh")
    clock.is_wrong()
    assert calibrate([LOCAL]) == 1
    clock.is_right()
    calibrate([LOCAL])
    assert timezone.now() - Calibration.objects.latest("fitted_at").fitted_at < 10 * HOUR
    assert not Calibration.objects.filter(fitted_at__gt=timezone.now())
    clock.is_right(minutes=26 * 60)
    assert calibrate([LOCAL]) == 1


@of("`started_at` of runs (health, missed polls)")
def test_runs_by_a_wrong_clock_are_no_sign_of_health(heater, clock):
    clock.is_wrong()
    with suppress(runs.ClockNotSet):
        poll.poll_devices()
    clock.is_right()
    assert not runs.health(timezone.now()).ok
    poll.poll_devices()
    health = runs.health(timezone.now())
    assert health.ok and health.next_poll_at <= timezone.now() + 10 * MINUTE


@of("keys of orders (`created_at`)")
def test_an_order_whose_process_died_by_a_wrong_clock_may_be_sent_again(home, clock):
    def once():
        return order_once("user 1", "a", {}, lambda: order(home))

    clock.is_wrong()
    first = once()
    clock.is_right()
    again = once()
    assert again.is_new or again.command_pk == first.command_pk


@of("lists of decisions and commands on pages")
def test_what_a_wrong_clock_wrote_hides_nothing_newer_on_a_page(home, clock, admin_client):
    gateways.change_device(home.pk, rule="awesome")
    clock.is_wrong()
    for number in range(COMMANDS_SHOWN + 2):
        order(home, bool(number % 2))
    for rule in ("awesome", "schedule") * 8:
        gateways.change_device(home.pk, rule=rule)
        decide.decide(home.pk)
    clock.is_right()
    poll.poll_devices()
    newest = order(home)
    decide.decide(home.pk)
    page = admin_client.get(f"/devices/{home.pk}/").context
    assert page["commands"][0].pk >= newest.pk
    assert page["receipts"][0] == Receipt.objects.order_by("pk").last()
    switch = next(one for one, *_ in page["attributes"] if one.name == "on")
    assert switch.last_command.pk >= newest.pk


@of("alerts: looks that count (`counted_at`), and until when a network was away (`ended_at`)")
def test_alerts_open_and_end_after_a_wrong_clock(home, clock):
    """Nobody polls: that is what is wrong."""
    clock.is_wrong()
    with suppress(runs.ClockNotSet):
        send_alerts()
    for minutes in (60, 70, 80):
        clock.is_right(minutes)
        send_alerts()
    assert Alert.objects.open().filter(key="task:poll").exists()
    poll.poll_devices(force=True)
    clock.is_right(90)
    send_alerts()
    assert not Alert.objects.unended().filter(key="task:poll").exists()


@of("`due_at` and `retry_at` of alert messages")
def test_a_message_that_a_wrong_clock_put_off_is_sent(clock, settings):
    with hook_server() as hook:
        settings.ALERTS = [hook.address + "/hook"]
        message = waiting_message(due_at=NOON)
        message.retry_at = message.due_at = NOON + clock.wrong_by + MINUTE
        message.save()
        for hours in (0, 12):
            clock.is_right(60 * hours)
            deliver()
        message.refresh_from_db()
        # One years behind is too old to tell.
        is_too_old = clock.wrong_by < -timedelta(days=2)
        assert message.fate == (Fate.GIVEN_UP if is_too_old else Fate.SENT)


@of("claims of alert messages")
def test_a_claim_of_a_message_keeps_nobody_out(clock, settings):
    with hook_server() as hook:
        settings.ALERTS = [hook.address + "/hook"]
        waiting_message(due_at=NOON, claimed_until=Now() + clock.wrong_by)
        deliver()
        assert len(hook.requests) == 1


def waiting_message(**fields):
    alert = Alert.objects.create(
        key="a test", first_seen_at=NOON, last_seen_at=NOON, counted_at=NOON, opened_at=NOON
    )
    [address] = addresses()
    return AlertMessage.objects.create(
        alert=alert, channel=address.digest, phase="opened", **fields
    )


@of(
    "what is pruned: observations, events, silences, commands, runs, forecasts, measurements, "
    "calibrations, receipts, plans, alerts"
)
def test_a_wrong_clock_deletes_no_history_and_stops_no_pruning(home, clock, settings):
    settings.KEEP_DAYS = 30
    power = home.attributes.get(name="power")
    days = (400, 40, 27, 10, 1)
    Observation.objects.bulk_create(
        Observation(attribute=power, observed_at=NOON - timedelta(days=day), number=1.0)
        for day in days
    )
    clock.is_wrong()
    with suppress(runs.ClockNotSet):
        poll.poll_devices(force=True)
    # By then each attribute has had a turn again.
    clock.is_right(minutes=25 * 60)
    poll.poll_devices(force=True)
    kept = Observation.objects.filter(attribute=power, observed_at__lt=NOON - HOUR)
    kept = kept.filter(observed_at__in=[NOON - timedelta(days=day) for day in days])
    ages = [(NOON - at).days for at in kept.values_list("observed_at", flat=True)]
    # That of 40 days ago held when the days to keep began.
    assert sorted(ages) == [1, 10, 27, 40]
