"""Who decides and what is ordered, against the simulator.

With the limits, the fail-safe and the device's own timer.
"""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Plan, Receipt
from core.models.device_command import State
from core.readings import Source
from core.schedule import Every
from core.simulator import Fault
from core.tasks import decide, explain, gateways, poll
from core.tasks.events.outbox import publishing
from core.tasks.orders import holds
from tests.core.rules.sentences import check, is_of_a_forecast
from tests.soak.ledger import scripted_rules
from tests.soak.rules.scripted import SCRIPT

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
EVENING = datetime(2026, 11, 17, 18, 3, tzinfo=UTC)


@pytest.fixture
def heater(heater, time_machine):
    """Decided for by the script, on a clock that stands still until a test moves it."""
    time_machine.move_to(EVENING, tick=True)
    SCRIPT.clear()
    with scripted_rules():
        gateways.change_device(heater.pk, rule="scripted")
        poll.poll_devices(force=True)
        yield heater


def says(word):
    SCRIPT["Heater"] = word


def round_at(time_machine, minutes):
    """What the scheduler does, so many minutes after the evening began."""
    time_machine.move_to(EVENING + minutes * MINUTE, tick=True)
    poll.poll_devices(force=True)
    [verdict] = decide.decide()
    return verdict


def rounds(time_machine, *, since, until):
    """What the scheduler does every ten minutes. Return the last verdict."""
    verdict = None
    for minutes in range(since, until + 1, 10):
        verdict = round_at(time_machine, minutes)
    return verdict


def test_an_on_carries_its_own_way_back(heater, simulator):
    says("on")
    [verdict] = decide.decide()
    assert verdict.sentence == "on, because the script says so: confirmed"
    began, seconds = simulator.devices[0].timer
    assert seconds == 80 * 60
    assert verdict.command.revert_after == 80 * MINUTE
    assert abs(
        verdict.command.reverts_at - (verdict.command.accepted_at + 80 * MINUTE)
    ) < timedelta(seconds=1)


def test_an_off_needs_no_way_back_unless_on_is_the_fail_safe(heater, simulator):
    simulator.devices[0].on = True
    gateways.change_device(heater.pk, fail_safe="on", hold_minutes=0)
    poll.poll_devices(force=True)
    says("off")
    decide.decide()
    assert not simulator.devices[0].on and simulator.devices[0].timer


def test_the_timer_is_set_anew_before_it_runs_out_and_nothing_is_switched(
    heater, simulator, time_machine
):
    says("on")
    decide.decide()
    sentences = [round_at(time_machine, minutes).sentence for minutes in (10, 30, 50)]
    assert sentences == ["on already, because the script says so"] * 3
    verdict = round_at(time_machine, 62)
    assert (
        verdict.sentence
        == "on already, because the script says so; its own timer is set anew: confirmed"
    )
    assert simulator.devices[0].effects == 1 and simulator.devices[0].writes == 2
    command = verdict.command
    assert command.matches(command.before_number, command.before_text)


def test_a_device_that_was_on_already_gets_its_way_back(heater, simulator):
    gateways.change_device(heater.pk, hold_minutes=0)
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    says("on")
    assert decide.decide()[0].sentence.endswith("its own timer is set anew: confirmed")
    assert simulator.devices[0].timer


def test_a_rule_waits_for_the_least_time_on(heater, simulator, time_machine):
    gateways.change_device(heater.pk, min_on_minutes=30)
    says("on")
    decide.decide()
    says("off")
    assert round_at(time_machine, 20).sentence == (
        "off later, because the script says so; it has been on for 20 of at least 30 min"
    )
    assert simulator.devices[0].on
    assert round_at(time_machine, 31).sentence == "off, because the script says so: confirmed"


def test_a_guard_waits_for_nothing(heater, simulator, time_machine):
    gateways.change_device(heater.pk, min_on_minutes=30, most_switches_an_hour=1)
    says("on")
    decide.decide()
    says("guard")
    verdict = round_at(time_machine, 10)
    assert verdict.source is Source.GUARD and verdict.command.source == Source.GUARD
    assert not simulator.devices[0].on


def test_no_more_switches_in_an_hour_than_allowed(heater, simulator, time_machine):
    gateways.change_device(heater.pk, most_switches_an_hour=2)
    said = []
    for minutes, word in enumerate(["on", "off", "on"]):
        says(word)
        said.append(round_at(time_machine, minutes).sentence)
    assert (
        said[2] == "on later, because the script says so; "
        "it was switched 2 times in the last hour, and no more is allowed"
    )
    assert simulator.devices[0].effects == 2


def test_a_guard_beside_a_rule_goes_before_it(heater, simulator):
    gateways.change_device(heater.pk, rule="awesome", guard="scripted")
    says("guard")
    [verdict] = decide.decide()
    assert (verdict.source, verdict.sentence) == (
        Source.GUARD,
        "off already, because there is danger",
    )


def test_what_a_guard_says_when_there_is_no_danger_is_not_asked_for(heater):
    gateways.change_device(heater.pk, rule="schedule", guard="scripted")
    says("on")
    [verdict] = decide.decide()
    assert verdict.rule.name == "schedule"


def test_beside_a_blind_guard_nothing_is_switched_on(heater, simulator):
    gateways.change_device(
        heater.pk, rule="awesome", options={"clean_below": 9999}, guard="scripted"
    )
    says("undecided")
    [verdict] = decide.decide()
    assert (
        "; its guard cannot see; no decision by the guard: the script says so" in verdict.sentence
    )
    assert verdict.problem and not simulator.devices[0].on


@pytest.mark.parametrize("word", ["undecided", "broken"])
def test_after_an_hour_without_a_decision_the_fail_safe_is_sent(
    heater, simulator, time_machine, word
):
    says("on")
    decide.decide()
    says(word)
    for minutes in range(10, 70, 10):
        assert round_at(time_machine, minutes).sentence.startswith("no decision: ")
    verdict = round_at(time_machine, 71)
    assert verdict.source is Source.FAIL_SAFE
    assert verdict.sentence.startswith("off, because no decision was possible for 6")
    assert not simulator.devices[0].on
    says("on")
    assert round_at(time_machine, 80).sentence == "on, because the script says so: confirmed"
    assert Device.objects.get(pk=heater.pk).undecided_since is None


def test_a_guard_that_sees_goes_before_the_fail_safe(heater, simulator, time_machine):
    gateways.change_device(heater.pk, rule="scripted", guard="scripted", fail_safe="on")
    with publishing():
        # As if its file had been removed.
        Device.objects.filter(pk=heater.pk).update(rule="gone")
    says("guard")
    verdict = rounds(time_machine, since=0, until=70)
    assert verdict.source is Source.GUARD and verdict.is_undecided
    assert "no decision by the rule: There is no rule 'gone'" in verdict.sentence
    assert not simulator.devices[0].on
    says("nothing")
    verdict = round_at(time_machine, 80)
    assert verdict.source is Source.FAIL_SAFE and simulator.devices[0].on


def test_held_in_danger_the_guard_warns(heater):
    gateways.change_device(heater.pk, rule="awesome", guard="scripted")
    holds.hold(heater.pk, None, "mine")
    says("guard")
    [verdict] = decide.decide()
    assert verdict.sentence.startswith("held until it is released: mine; scripted warns off, ")


def test_no_fail_safe_where_it_is_to_stay_as_it_is(heater, simulator, time_machine):
    gateways.change_device(heater.pk, fail_safe="keep")
    says("on")
    decide.decide()
    says("undecided")
    round_at(time_machine, 10)
    assert round_at(time_machine, 200).sentence == "no decision: the script says so"
    assert simulator.devices[0].on and simulator.devices[0].timer is None


def test_a_silent_device_is_sent_its_fail_safe_too(heater, simulator, time_machine):
    says("on")
    decide.decide()
    simulator.devices[0].faults = [Fault("unreachable")]
    assert "no fresh reading" in round_at(time_machine, 50).sentence
    simulator.devices[0].faults = [Fault("503")]
    verdict = rounds(time_machine, since=60, until=120)
    assert verdict.source is Source.FAIL_SAFE and verdict.command.value is False


@pytest.mark.parametrize(
    "jump", [timedelta(hours=10), timedelta(hours=-9), timedelta(days=4000)], ids=str
)
def test_a_clock_that_jumps_makes_no_fail_safe(heater, simulator, time_machine, jump):
    """The first round without a decision by a wrong clock, the second by the right one."""
    says("on")
    decide.decide()
    says("undecided")
    time_machine.move_to(EVENING + jump, tick=True)
    poll.poll_devices(force=True)
    decide.decide()
    for minutes in (10, 20, 30):
        verdict = round_at(time_machine, minutes)
        assert verdict.sentence == "no decision: the script says so"
    assert simulator.devices[0].on
    verdict = rounds(time_machine, since=40, until=80)
    assert verdict.source is Source.FAIL_SAFE
    [minutes] = re.findall(r"no decision was possible for (\d+) min", verdict.sentence)
    assert 60 <= int(minutes) <= 80


def test_a_scheduler_that_stood_still_makes_no_fail_safe(heater, simulator, time_machine):
    says("on")
    decide.decide()
    says("undecided")
    round_at(time_machine, 10)
    assert round_at(time_machine, 300).sentence == "no decision: the script says so"
    assert simulator.devices[0].on


def test_the_fail_safe_goes_by_how_often_it_is_decided_not_polled(
    heater, simulator, time_machine, settings
):
    hourly = {"do_something_awesome": Every(timedelta(hours=1))}
    settings.SCHEDULE = settings.SCHEDULE | hourly
    says("on")
    decide.decide()
    says("undecided")
    assert round_at(time_machine, 60).sentence.startswith("no decision: ")
    assert round_at(time_machine, 121).source is Source.FAIL_SAFE
    assert not simulator.devices[0].on


def test_a_hold_given_while_it_is_decided_wins(heater, simulator, monkeypatch):
    says("on")
    from core.tasks.decisions import receipts

    # It stands for a person who presses at that moment.
    held = lambda *_: holds.hold(heater.pk, None, "mine")  # noqa: E731
    ask = decide.verdict
    monkeypatch.setattr(decide, "verdict", lambda view, scene: (ask(view, scene), held())[0])
    [verdict] = decide.decide()
    assert verdict.sentence == "held since a moment ago: mine" and receipts
    assert simulator.devices[0].writes == 0


# Receipts


def test_the_same_decision_again_is_counted(heater, time_machine):
    says("off")
    for minutes in (0, 10, 20):
        round_at(time_machine, minutes)
    [receipt] = Receipt.objects.all()
    assert receipt.times == 3 and receipt.ended_at is None
    assert receipt.repeated_at > receipt.decided_at


def test_another_decision_ends_the_one_before(heater, time_machine):
    says("off")
    round_at(time_machine, 0)
    says("on")
    verdict = round_at(time_machine, 10)
    new, old = Receipt.objects.all()
    assert old.ended_at == new.decided_at
    assert new.command == verdict.command and verdict.receipt == new.pk


@pytest.mark.parametrize("word", ["on", "off", "nothing", "guard", "undecided", "broken"])
def test_explain_agrees(heater, word):
    says(word)
    [verdict] = decide.decide()
    explanation = explain.explain(verdict.receipt)
    assert explanation.agrees is True
    assert verdict.sentence.split(":")[0] in explanation.in_words()


def test_explain_says_when_the_rule_has_changed(heater):
    says("off")
    [verdict] = decide.decide()
    Receipt.objects.update(version="older")
    says("on")
    explanation = explain.explain(verdict.receipt)
    assert explanation.agrees is False
    assert "The rule's file has changed since" in explanation.in_words()
    assert "DIFFERS" in explanation.in_words()


def test_explain_tells_what_became_of_the_order_step_by_step(heater, simulator):
    says("on")
    simulator.devices[0].faults = [Fault("lost_command", 0, count=1)]
    [verdict] = decide.decide()
    words = explain.explain(verdict.receipt).in_words()
    assert [
        line.split(": ")[1][:9] for line in words.splitlines() if line.startswith("  2026-11-17")
    ][:3] == [
        "requested",
        "sending",
        "unknown. ",
    ]


# A plan


@pytest.fixture
def charger(heater):
    gateways.set_rule(heater.pk, "cleanest_hours", {"minutes": 180, "before": "07:00"})
    return heater


def test_a_plan_is_kept_with_what_it_promises(charger, time_machine):
    verdict = round_at(time_machine, 0)
    [plan] = Plan.objects.all()
    assert "3 h before 07:00" in verdict.sentence
    assert (plan.rule, plan.signal, plan.region, plan.unit) == (
        "cleanest_hours",
        "carbon_intensity",
        "replay",
        "gCO2",
    )
    assert plan.predicted > 0 and plan.changes == 0
    assert sum(end - start for start, end in plan.windows) == 180 * 60


def test_a_night_under_its_plan_delivers_every_minute_and_explains_itself(
    charger, simulator, time_machine
):
    said = [round_at(time_machine, minutes).receipt for minutes in range(0, 800, 10)]
    [plan] = Plan.objects.filter(deadline__lt=EVENING + timedelta(hours=14))
    assert 178 <= plan.delivered <= 195
    assert not simulator.devices[0].on
    assert plan.changes <= 2
    assert all(explain.explain(pk).agrees for pk in set(said))


@pytest.mark.parametrize("contiguous", [False, True])
def test_the_sentence_of_every_receipt_of_a_night_is_true_of_its_own_inputs(
    charger, time_machine, contiguous
):
    options = {"minutes": 180, "before": "07:00", "contiguous": "yes" if contiguous else "no"}
    gateways.set_rule(charger.pk, "cleanest_hours", options)
    for minutes in range(0, 760, 20):
        round_at(time_machine, minutes)
    told = 0
    for receipt in Receipt.objects.order_by("pk"):
        explanation = explain.explain(receipt.pk)
        reason = receipt.sentence.partition(", because ")[2].partition(": confirmed")[0]
        if reason and is_of_a_forecast(reason):
            deadline = explanation.plan.job.deadline
            slots = explanation.situation.outlook.slots
            check(reason, slots, receipt.decided_at, deadline, contiguous)
            told += 1
    assert told


def test_choices_are_compared_over_as_many_minutes_and_none_begins_before_the_job(
    charger, time_machine
):
    options = {"minutes": 180, "before": "07:00", "after": "23:00"}
    gateways.set_rule(charger.pk, "cleanest_hours", options)
    explanation = explain.explain(round_at(time_machine, 0).receipt)
    opens_at, candidates = explanation.plan.job.opens_at, explanation.candidates()
    assert [what for what, _, _ in candidates] == ["chosen", "at once", "as late as it goes"]
    for _, windows, _ in candidates:
        assert windows[0].starts_at >= opens_at
        lasts = [window.ends_at - window.starts_at for window in windows]
        assert sum(lasts, timedelta()) == timedelta(minutes=180)


def test_what_is_decided_as_of_an_earlier_time_is_what_was_decided_then(charger, time_machine):
    then = [
        (timezone.now(), round_at(time_machine, minutes).sentence) for minutes in range(0, 300, 20)
    ]
    moments = list(Receipt.objects.order_by("pk").values_list("decided_at", "sentence"))
    commands = DeviceCommand.objects.count()
    for decided_at, sentence in moments:
        [verdict] = decide.decide(as_of=decided_at)
        assert verdict.sentence.split(":")[0] == sentence.split(":")[0]
    assert then and DeviceCommand.objects.count() == commands


def test_a_dry_run_with_a_plan_orders_and_stores_nothing(charger, simulator):
    decide.decide(dry_run=True)
    assert (
        not Plan.objects.exists()
        and not Receipt.objects.exists()
        and not DeviceCommand.objects.exists()
    )
    assert simulator.devices[0].writes == 0


def test_an_order_by_a_rule_is_its_own_kind(charger, time_machine):
    says("on")
    for minutes in range(0, 800, 30):
        round_at(time_machine, minutes)
    sources = set(DeviceCommand.objects.values_list("source", "state"))
    assert sources == {(Source.RULE, State.CONFIRMED)}
    assert Attribute.objects.get(device=charger, name="on").value is False
