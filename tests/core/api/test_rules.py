"""Rules over the API: what there is, and choosing one without overwriting anybody's choice."""

import pytest

from core.models import Device, Receipt
from core.models.access import Role
from core.tasks import decide, gateways
from tests.core.api.conftest import Api, person
from tests.core.api.test_skeleton import expect_problem

pytestmark = pytest.mark.django_db

CHARGE = {"rule": "cleanest_hours", "options": {"minutes": 90, "contiguous": True}}


def rule_path(device, part="rule"):
    return f"/devices/{device.pk}/{part}/"


def choose(api, device, body, part="rule", **headers):
    return api.send("PUT", rule_path(device, part), body, headers)


def test_every_rule_tells_its_options(anonymous):
    rules = {rule["name"]: rule for rule in anonymous.get("/rules/").json()["results"]}
    assert rules["lightning_guard"]["is_guard"] and not rules["awesome"]["is_guard"]
    options = {option["name"]: option for option in rules["cleanest_hours"]["options"]}
    assert options["minutes"] == {
        "name": "minutes",
        "kind": "number",
        "default": 180,
        "unit": "min",
        "help": "How long it has to run every day",
        "choices": [],
    }
    assert options["ties"]["choices"] == ["earliest", "latest"]
    kinds = {option["name"]: option["kind"] for option in rules["when"]["options"]}
    assert (kinds["device"], kinds["attribute"], kinds["limit"]) == ("device", "text", "number")


def test_a_rule_is_chosen_with_its_options(administrator, device):
    response = choose(administrator, device, CHARGE | {"version": 0})
    assert response.status_code == 200
    body = administrator.get(rule_path(device)).json()
    assert body == response.json()
    assert (body["rule"], body["version"], body["problem"]) == ("cleanest_hours", 1, "")
    assert body["options"]["minutes"] == 90
    assert body["options"]["before"] == "07:00"
    assert Device.objects.get(pk=device.pk).options == CHARGE["options"]


def test_a_guard_stands_beside_the_rule(administrator, device):
    choose(administrator, device, CHARGE | {"version": 0})
    guard = {"rule": "lightning_guard", "version": 1}
    assert choose(administrator, device, guard, "guard").status_code == 200
    assert administrator.get(rule_path(device, "guard")).json()["rule"] == "lightning_guard"
    assert administrator.get(rule_path(device)).json()["rule"] == "cleanest_hours"


def test_a_rule_is_taken_away(administrator, device):
    choose(administrator, device, CHARGE | {"version": 0})
    body = choose(administrator, device, {"rule": None, "version": 1}).json()
    assert (body["rule"], body["options"]) == (None, {})


def test_nobody_overwrites_what_he_has_not_seen(administrator, device):
    gateways.change_device(device.pk, name="Kettle")
    body = expect_problem(choose(administrator, device, CHARGE | {"version": 0}), 412)
    assert "changed by somebody else" in body["detail"]
    assert administrator.get(rule_path(device)).json()["rule"] is None
    expect_problem(choose(administrator, device, CHARGE), 428)
    assert Device.objects.get(pk=device.pk).rule == ""


def test_an_etag_is_as_good_as_a_version(administrator, device):
    seen = administrator.get(rule_path(device))["ETag"]
    first = choose(administrator, device, CHARGE, **{"If-Match": seen})
    assert first.status_code == 200
    expect_problem(choose(administrator, device, CHARGE, **{"If-Match": seen}), 412)
    again = choose(administrator, device, CHARGE, **{"If-Match": first["ETag"]})
    assert again.status_code == 200
    assert again.json()["version"] == 2


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"rule": "nonsense"}, "nonsense"),
        ({"rule": "cleanest_hours", "options": {"minute": 5}}, "has no option minute"),
        ({"rule": "cleanest_hours", "options": {"minutes": 0}}, "minutes: 0 is not between"),
        ({"rule": "cleanest_hours", "options": {"minutes": [1]}}, "of the wrong kind"),
        ({"rule": "cleanest_hours", "options": {"before": "25:00"}}, "before: '25:00'"),
    ],
)
def test_the_same_is_refused_as_by_set_rule_and_the_page(administrator, device, body, sentence):
    answer = expect_problem(choose(administrator, device, body | {"version": 0}), 422)
    assert sentence in answer["detail"]
    assert Device.objects.get(pk=device.pk).version == 0


def test_a_rule_that_is_no_guard_is_refused_as_one(administrator, device):
    guard = {"rule": "awesome", "version": 0}
    body = expect_problem(choose(administrator, device, guard, "guard"), 422)
    assert "awesome is no guard" in body["detail"]


def test_only_who_administers_chooses(anonymous, operator, gateway, device, other):
    body = CHARGE | {"version": 0}
    expect_problem(choose(anonymous, device, body), 401)
    expect_problem(choose(operator, device, body), 403)
    limited = Api(person("alma", Role.ADMINISTRATOR, gateway))
    expect_problem(choose(limited, other, body), 404)
    assert choose(limited, device, body).status_code == 200


def test_a_rule_may_not_look_at_a_device_that_who_chooses_may_not_see(
    administrator, gateway, device, other
):
    body = looking_at(other.pk) | {"version": 0}
    limited = Api(person("alma", Role.ADMINISTRATOR, gateway))
    answer = expect_problem(choose(limited, device, body), 422)
    assert f"there is no device '{other.pk}'" in answer["detail"]
    assert choose(administrator, device, body).status_code == 200


def test_options_that_a_rule_takes_no_more_are_shown_with_why(administrator, anonymous, device):
    Device.objects.update(rule="cleanest_hours", options={"minute": 5})
    body = administrator.get(rule_path(device)).json()
    assert (body["rule"], body["options"]) == ("cleanest_hours", {"minute": 5})
    assert "has no option minute" in body["problem"]
    assert "problem" not in anonymous.get(rule_path(device)).json()


def looking_at(device, **more):
    return {"rule": "when", "options": {"device": device, "attribute": "power"} | more}


def test_another_device_is_named_by_number_or_name(administrator, device, other):
    for version, wanted in enumerate([other.pk, str(other)]):
        body = choose(administrator, device, looking_at(wanted) | {"version": version}).json()
        assert body["options"]["device"] == other.pk
    answer = choose(administrator, device, looking_at("a\0b") | {"version": 2})
    assert "there is no device" in expect_problem(answer, 422)["detail"]
    answer = choose(administrator, device, looking_at(other.pk, attribute="wet") | {"version": 2})
    assert "has no 'wet'. It has: " in expect_problem(answer, 422)["detail"]


def test_a_decision_tells_what_it_was_made_from_of_devices_that_may_be_seen(
    viewer, gateway, device, other
):
    gateways.set_rule(device.pk, "when", {"device": other.pk, "attribute": "power"})
    decide.decide(device.pk)
    path = f"/decisions/{Receipt.objects.get().pk}/"
    assert list(viewer.get(path).json()["inputs"]["others"]) == [str(other.pk)]
    limited = Api(person("alma", Role.VIEWER, gateway))
    assert limited.get(path).json()["inputs"]["others"] == {}
