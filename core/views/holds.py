"""A person says that a device stays as it is, and takes the word back."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from core import formatting
from core.forms import HoldForm
from core.models import Right
from core.tasks.orders import holds
from core.views.access import back, device_or_404, permitted, person

LENGTHS = (60, 240)
"""Minutes that have a button."""


def lengths() -> list[tuple[str, str]]:
    """The buttons, as (minutes, what it says)."""
    return [
        *((str(minutes), f"for {formatting.span_text(minutes)}") for minutes in LENGTHS),
        ("", "until released"),
    ]


@require_POST
@permitted(Right.CONTROL)
def hold(request: HttpRequest, pk: int) -> HttpResponse:
    device = device_or_404(request, pk)
    form = HoldForm(request.POST)
    if form.is_valid():
        holds.hold(pk, form.until(timezone.now()), f"held by {person(request)}")
        minutes = form.cleaned_data["minutes"]
        lasts = f"for {formatting.span_text(minutes)}" if minutes else "until released"
        messages.success(request, f"{device} is held {lasts}.")
    else:
        messages.error(
            request,
            f"{device} is not held: for how long must be a number of minutes, a week at most.",
        )
    return back(request, "device", pk)


@require_POST
@permitted(Right.CONTROL)
def release(request: HttpRequest, pk: int) -> HttpResponse:
    device = device_or_404(request, pk)
    holds.release(pk)
    decides = "Its rule decides again at the next run." if device.has_decider else "It has no rule."
    messages.success(request, f"{device} is released. {decides}")
    return back(request, "device", pk)
