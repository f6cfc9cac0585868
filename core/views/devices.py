"""The device page: attributes, charts, commands, and the buttons; change and remove."""

from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core import formatting
from core.forms import ChooseChart, DeviceForm, OrderForm
from core.forms.versioned import Seen, stored, typed
from core.live.follower import newest_event
from core.models import Attribute, Device, DeviceCommand, Freshness, Right, access_of
from core.models.attribute import main_switch
from core.models.device_command import State
from core.readings import Source, Unacceptable
from core.tasks import gateways, poll
from core.tasks.orders import send
from core.tasks.orders.at_once import send_at_once
from core.tasks.polling.clock import AHEAD
from core.views.access import back, device_or_404, permitted, person, readable
from core.views.costs import costs_of
from core.views.decisions import decided
from core.views.history import SPANS, history
from core.views.sparklines import sparks_of
from core.views.status import attributes_of

COMMANDS_SHOWN = 20
OUTCOME_SECONDS = 10
"""For which the page waits for a worker to send; what comes later it shows by itself."""
MOST_SPARKS = 24
MOST_PARTS = 24
LEVELS = {
    State.CONFIRMED: messages.SUCCESS,
    State.FAILED: messages.ERROR,
    State.EXPIRED: messages.ERROR,
    State.UNCONFIRMED: messages.ERROR,
}


@readable
@require_safe
def device(request: HttpRequest, pk: int) -> HttpResponse:
    # The event id is taken before any query: changes during this request are sent again.
    now, last_event = timezone.now(), newest_event()
    device = device_or_404(request, pk)
    attributes = attributes_of([device], now)[device.pk]
    sparks = sparks_of([one for one in attributes if one.has_chart][:MOST_SPARKS], now)
    wanted = ChooseChart(request.GET).wanted()
    by_pk = {attribute.pk: attribute for attribute in attributes}
    chosen = by_pk.get(wanted["attribute"]) or formatting.drawn(attributes)
    chosen = chosen or next(iter(attributes), None)
    may_order = request.user.has_perm("core.add_devicecommand") and not device.is_paused
    commands = DeviceCommand.objects.filter(attribute__in=attributes).select_related(
        "attribute", "user"
    )
    return render(
        request,
        "core/device.html",
        {
            "now": now,
            "last_event": last_event,
            "device": device,
            "parts": _parts(request, device, now),
            "freshness": device.freshness(now),
            "attributes": [
                (
                    one,
                    one.freshness(now),
                    sparks.get(one.pk),
                    OrderForm(one) if may_order and one.writable else None,
                )
                for one in attributes
            ],
            "spans": SPANS,
            "span": wanted["span"],
            "chosen": chosen,
            "history": history(chosen, SPANS[wanted["span"]], now) if chosen else None,
            "commands": commands.filter(requested_at__lte=now + AHEAD).order_by(
                "-requested_at", "-pk"
            )[:COMMANDS_SHOWN],
            **decided(device, attributes, now, access_of(request.user)),
            **(costs_of(device, now) if request.user.is_authenticated else {}),
        },
    )


def _parts(
    request: HttpRequest, device: Device, now: datetime
) -> list[tuple[Device, Freshness, Attribute | None]]:
    """Return the devices of the same hardware, if there are several, each with the attribute that
    says most of it."""
    if not device.hardware:
        return []
    present = Device.objects.present().select_related("gateway")
    found = access_of(request.user).limit_devices(present).beside(device)[:MOST_PARTS]
    parts = list(found)
    attributes = attributes_of(parts, now)
    shown = []
    for part in parts:
        own = attributes[part.pk]
        said = main_switch(own) or next(iter(formatting.foremost(own, 1)), None)
        shown.append((part, part.freshness(now), said))
    return shown if len(shown) > 1 else []


@require_POST
@permitted(Right.CONTROL)
def order(request: HttpRequest, pk: int) -> HttpResponse:
    """Commit the command, send it in this request, and show the outcome as a message."""
    attribute = get_object_or_404(Attribute.objects.select_related("device__gateway"), pk=pk)
    if not access_of(request.user).may(Right.CONTROL, device=attribute.device):
        raise Http404
    form = OrderForm(attribute, request.POST)
    if form.is_valid():
        _order(request, attribute, form)
    else:
        complaint = " ".join(str(error) for errors in form.errors.values() for error in errors)
        messages.error(request, f"{attribute.device}, {formatting.label(attribute)}: {complaint}")
    return back(request, "device", attribute.device_id)


def _order(request: HttpRequest, attribute: Attribute, form: OrderForm) -> None:
    user = person(request)
    try:
        command = send.order(
            attribute.pk,
            form.ordered(),
            source=Source.HUMAN,
            reason=f"Pressed by {user}",
            user=user,
        )
    except Unacceptable as error:
        messages.error(request, f"{error}.")
        return
    command = next(iter(send_at_once([command.pk], OUTCOME_SECONDS)), command)
    command.attribute = attribute
    outcome = f"{attribute.device}, {formatting.command_text(command)}."
    parts = (outcome, command.error, _held(attribute.device_id))
    level = LEVELS.get(State(command.state), messages.INFO)
    messages.add_message(request, level, " ".join(part for part in parts if part))


def _held(device_pk: int) -> str:
    """Say for how long the command holds the device, if it has a rule."""
    now, device = timezone.now(), Device.objects.get(pk=device_pk)
    if not device.has_decider or not device.is_held(now):
        return ""
    if device.held_until is None:
        return "Rules do not switch it until it is released."
    minutes = (device.held_until - now).total_seconds() / 60
    return f"Rules do not switch it for {formatting.span_text(minutes)}."


@require_POST
@permitted(Right.CONTROL)
def ask(request: HttpRequest, pk: int) -> HttpResponse:
    device = device_or_404(request, pk)
    asked = poll.poll_devices(device.gateway_id, force=True).asked
    for _, why in asked.failed:
        messages.error(request, f"{device.gateway} was polled and did not answer: {why}")
    if asked.asleep:
        messages.info(request, f"{device.gateway} is asleep: it is asked again when it wakes.")
    elif asked.busy:
        messages.info(
            request, f"{device.gateway} is being polled already: its values will appear here."
        )
    elif not asked.gateways:
        messages.info(request, f"{device.gateway} has no device to poll.")
    elif not asked.failed:
        messages.success(request, f"{device.gateway} answered.")
    return back(request, "device", pk)


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    device = device_or_404(request, pk)
    form, seen = (
        DeviceForm(request.POST or None, instance=device),
        Seen(device, request.POST or None),
    )
    if form.is_valid() and _changed(device, form, seen):
        messages.success(request, f"{form.cleaned_data['name']}: saved.")
        return redirect("device", pk)
    # The form has written what was typed into its own instance: the heading is of the stored one.
    device = device_or_404(request, pk) if form.is_bound else device
    return render(
        request, "core/device_change.html", {"device": device, "form": form, "seen": seen}
    )


def _changed(device: Device, form: DeviceForm, seen: Seen) -> bool:
    try:
        gateways.change_device(device.pk, version=seen.wanted(), **form.cleaned_data)
    except gateways.VersionConflict as refused:
        seen.show_conflict(refused.there, stored(DeviceForm(instance=refused.there)), typed(form))
        return False
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN)
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    device = device_or_404(request, pk)
    if request.method == "POST":
        gateways.remove_device(pk)
        messages.success(request, f"{device} was removed.")
        return redirect("status")
    return render(request, "core/device_remove.html", {"device": device})
