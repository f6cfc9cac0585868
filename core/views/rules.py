"""The rule page: choose the rule and the guard of a device, and set their options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from core import rules
from core.forms import ChooseRule, RuleForm
from core.forms.versioned import Seen, stored, typed
from core.models import Device, Right, Site, access_of
from core.models.device import DeviceQuerySet
from core.tasks import gateways
from core.views.access import device_or_404, permitted


@dataclass(frozen=True)
class Choice:
    """One of the two forms of the page, rule or guard.

    `form` is None where none is chosen, or its file is broken: `problem` says how.
    """

    place: str
    about: str
    chosen: str
    stored: str
    chooser: ChooseRule
    form: RuleForm | None
    problem: str
    seen: Seen

    @property
    def is_stored(self) -> bool:
        return self.chosen == self.stored

    @property
    def label(self) -> str:
        return self.chosen.replace("_", " ")


WORDS = {
    "rule": ("Which rule", "Decides when the device runs.", "no rule"),
    "guard": (
        "Which guard",
        "Prevents damage. It overrides the rule and ignores minimum times.",
        "no guard",
    ),
}


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN)
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose by GET (?rule=NAME, ?guard=NAME); store one of the two by POST."""
    device = device_or_404(request, pk)
    place = request.POST.get("place", "")
    sent = request.POST if request.method == "POST" and place in WORDS else None
    seen = _seen(request)
    choices = [
        _choice(device, seen, name, request.GET, sent if name == place else None) for name in WORDS
    ]
    for choice in choices:
        if sent is not None and choice.place == place and _store(request, device, choice):
            return redirect("device", pk)
    return render(
        request,
        "core/device_rule.html",
        {
            "device": device,
            "choices": [one for one in choices if _is_offered(one)],
            "clock": Site.home().clock_of(device),
        },
    )


def _seen(request: HttpRequest) -> DeviceQuerySet:
    """Return the devices that the options of a rule may name."""
    return access_of(request.user).limit_devices(Device.objects.present())


def _choice(
    device: Device,
    devices: DeviceQuerySet,
    place: str,
    wanted: QueryDict,
    sent: QueryDict | None,
) -> Choice:
    label, about, nobody = WORDS[place]
    name, given = _stored(device, place)
    asked = sent.get(place, "") if sent is not None else wanted.get(place, name)
    chooser = ChooseRule(place, label, _known(place), nobody, {place: asked})
    chosen = chooser.wanted()
    form, problem = None, ""
    if chosen:
        problem = rules.problem_of(chosen)
    if chosen and not problem:
        form = _form(chosen, devices, sent, given if chosen == name else {}, place)
    if place in wanted:  # chosen on this page a moment ago: the keyboard goes on there
        chooser.field.field.widget.attrs["autofocus"] = True
    return Choice(place, about, chosen, name, chooser, form, problem, Seen(device, sent))


def _stored(device: Device, place: str) -> tuple[str, dict[str, Any]]:
    return (
        (device.guard, device.guard_options) if place == "guard" else (device.rule, device.options)
    )


def _known(place: str) -> Sequence[tuple[str, str]]:
    return rules.guard_choices() if place == "guard" else rules.choices()


def _is_offered(choice: Choice) -> bool:
    """Where there is no guard to choose from, none is offered."""
    return choice.place == "rule" or bool(choice.stored or _known("guard"))


def _form(
    name: str,
    devices: DeviceQuerySet,
    sent: QueryDict | None,
    given: Mapping[str, Any],
    place: str,
) -> RuleForm:
    shown = {option: _as_typed(value) for option, value in given.items()}
    return RuleForm(rules.load(name), devices, sent, initial=shown, prefix=place)


def _loads(name: str) -> bool:
    return bool(name) and not rules.problem_of(name)


def _as_typed(value: object) -> object:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.12g}"
    return value


def _store(request: HttpRequest, device: Device, choice: Choice) -> bool:
    """Store what was sent if it is valid; else the form shows the errors."""
    if not choice.chooser.is_valid() or choice.form is not None and not choice.form.is_valid():
        return False
    options = choice.form.cleaned_data if choice.form else {}
    try:
        gateways.set_rule(
            device.pk,
            choice.chosen,
            options,
            guard=choice.place == "guard",
            version=choice.seen.wanted(),
            access=access_of(request.user),
        )
    except gateways.VersionConflict as refused:
        _meet(choice, cast(Device, refused.there), _seen(request))
        return False
    except ValueError as error:
        if choice.form:
            choice.form.refuse(str(error))
        else:
            choice.chooser.add_error(None, str(error))
        return False
    if choice.chosen:
        decides = f"the {choice.place} {choice.label} decides"
    else:
        decides = f"it has no {choice.place}"
    messages.success(request, f"{device}: {decides} from now on.")
    return True


def _meet(choice: Choice, there: Device, devices: DeviceQuerySet) -> None:
    """Which rule, and the options of each."""
    name, given = _stored(there, choice.place)
    theirs = {WORDS[choice.place][0]: name.replace("_", " ")} | (
        stored(_form(name, devices, None, given, choice.place)) if _loads(name) else {}
    )
    yours = {WORDS[choice.place][0]: choice.label} | (typed(choice.form) if choice.form else {})
    choice.seen.show_conflict(there, theirs, yours)
