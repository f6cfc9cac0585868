"""One broken file among vendors, feeds and rules costs what uses it, and nothing else."""

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from core import checks, feeds, rules, vendors
from core.models import Device, Gateway, Observation, Receipt
from core.tasks import decide, gateways, poll
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

BROKEN = {
    "with_syntax": "import math\n\ndef decide(situation:\n",
    "with_import": "import math\nimport no_such_library\n",
    "with_name": "import math\n\nLIMIT = math.py\n",
    "with_nothing": "import math\n",
}
SAYS = {
    "with_syntax": "core/{}/with_syntax.py is broken, line 3: SyntaxError: '(' was never closed",
    "with_import": "core/{}/with_import.py is broken, line 2: ModuleNotFoundError: "
    "No module named 'no_such_library'",
    "with_name": "core/{}/with_name.py is broken, line 3: AttributeError: "
    "module 'math' has no attribute 'py'",
    "with_nothing": "core/{}/with_nothing.py is broken: it has no ",
}
FOLDERS = (vendors, feeds, rules)


@pytest.fixture(autouse=True)
def broken(monkeypatch, tmp_path):
    for folder in FOLDERS:
        own = tmp_path / folder.__name__.rpartition(".")[2]
        own.mkdir()
        for name, text in BROKEN.items():
            (own / f"{name}.py").write_text(text)
        monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(own)])


@pytest.fixture
def lamp(heater):
    """Beside the heater, at a gateway of its own that speaks a broken dialect."""
    return make_device(make_gateway(vendor="with_import"), "lamp")


def give_rule(device, name):
    """As if its file had broken after the rule was chosen."""
    with publishing():
        Device.objects.filter(pk=device.pk).update(rule=name)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.__name__)
@pytest.mark.parametrize("name", BROKEN)
def test_the_error_names_file_and_line(folder, name):
    says = SAYS[name].format(folder.__name__.rpartition(".")[2])
    for _ in range(2):
        with pytest.raises(LookupError) as error:
            folder.load(name)
        assert str(error.value).startswith(says)


def test_check_warns_and_nothing_stops():
    warnings = checks.check_plug_ins(None)
    assert len(warnings) == len(FOLDERS) * len(BROKEN)
    assert not any(warning.is_serious() for warning in warnings)
    assert {warning.msg.partition(" is broken")[0] for warning in warnings} == {
        f"core/{folder.__name__.rpartition('.')[2]}/{name}.py"
        for folder in FOLDERS
        for name in BROKEN
    }


@pytest.mark.django_db
def test_a_broken_rule_costs_its_own_device(heater, simulator):
    lamp = make_device(make_gateway(), "lamp")
    give_rule(lamp, "with_import")
    gateways.change_device(heater.pk, rule="schedule", options={"on": "00:00-24:00"})
    poll.poll_devices(gateway_pk=heater.gateway_id)
    with pytest.raises(CommandError, match="1 of 2 devices had a problem: Lamp"):
        call_command("do_something_awesome")
    assert simulator.devices[0].on
    sentence = Device.objects.get(pk=lamp.pk).decision
    assert sentence.startswith("no decision: core/rules/with_import.py is broken, line 2: ")
    assert Device.objects.get(pk=lamp.pk).undecided_since is not None
    assert Receipt.objects.count() == 2


@pytest.mark.django_db
def test_a_broken_vendor_costs_its_own_gateway(heater, lamp):
    with pytest.raises(CommandError, match="core/vendors/with_import.py is broken, line 2"):
        call_command("poll_devices")
    assert Observation.objects.filter(attribute__device=heater).exists()
    gateway = Gateway.objects.get(pk=lamp.gateway_id)
    assert gateway.refused and "with_import.py is broken" in gateway.error


@pytest.mark.django_db
def test_the_fail_safe_of_a_device_whose_vendor_broke_stops_nobody(heater, lamp, time_machine):
    give_rule(lamp, "schedule")
    gateways.change_device(heater.pk, rule="schedule", options={"on": "00:00-24:00"})
    poll.poll_devices()
    with publishing():
        Device.objects.filter(pk=lamp.pk).update(undecided_seconds=9999)
    verdicts = {str(verdict.device): verdict for verdict in decide.decide()}
    assert verdicts["Heater"].command.state == "confirmed"
    assert verdicts["Lamp"].problem


@pytest.mark.django_db
def test_a_broken_feed_costs_those_who_look_at_it(heater, settings):
    settings.FEEDS = ["with_syntax", "replay"]
    gateways.change_device(heater.pk, rule="schedule", options={"on": "00:00-24:00"})
    poll.poll_devices()
    [verdict] = decide.decide()
    assert verdict.command.state == "confirmed"
    with pytest.raises(CommandError, match="core/feeds/with_syntax.py is broken, line 3"):
        call_command("fetch_forecasts")


@pytest.mark.django_db
@pytest.mark.parametrize("rule", ["with_syntax", "with_nothing"])
def test_pages_name_what_is_broken_and_are_shown(admin_client, heater, lamp, rule):
    give_rule(heater, rule)
    says = SAYS[rule].format("rules").replace("'", "&#x27;")
    assert says in page(admin_client, "device", heater.pk)
    assert says in page(admin_client, "device_rule", heater.pk)
    assert "with_import" in page(admin_client, "gateway_add")
    for name, *arguments in (
        ("status",),
        ("gateways",),
        ("device", lamp.pk),
        ("device_change", heater.pk),
        ("gateway", lamp.gateway_id),
    ):
        page(admin_client, name, *arguments)


@pytest.mark.django_db
def test_readers_without_a_log_in_see_only_that_a_rule_is_broken(client, heater, settings):
    settings.PUBLIC_STATUS = True
    give_rule(heater, "with_import")
    poll.poll_devices(gateway_pk=heater.gateway_id)
    decide.decide(heater.pk)
    for name, *arguments in (("status",), ("device", heater.pk)):
        response = client.get(reverse(name, args=arguments))
        shown = response.content.decode()
        assert response.status_code == 200
        assert "its rule is broken" in shown
        assert "core/rules" not in shown and "no_such_library" not in shown


def page(client, name, *arguments):
    response = client.get(reverse(name, args=arguments))
    assert response.status_code == 200
    return response.content.decode()
