"""The people who may log in: listed, invited, given a role, let in no more."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from core.forms.people import InviteForm, PersonForm
from core.models import Right, User
from core.tasks import invitations
from core.tasks import people as task
from core.tasks.mail import MailAway
from core.views.access import permitted, person
from core.views.log_in import site_url

PEOPLE_A_PAGE = 50


@require_safe
@permitted(Right.ADMIN, everywhere=True)
def people(request: HttpRequest) -> HttpResponse:
    everybody = User.objects.select_related("membership", "invitation")
    listed = everybody.prefetch_related("membership__gateways").order_by("-is_active", "username")
    page = Paginator(listed, PEOPLE_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "core/people.html", {"now": timezone.now(), "page": page})


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN, everywhere=True)
def invite(request: HttpRequest) -> HttpResponse:
    form = InviteForm(request.POST or None)
    if form.is_valid():
        lines = form.cleaned_data["people"].splitlines()
        try:
            invited = invitations.parse_addresses(lines, *form.chosen())
            sent = invitations.invite_now(invited, str(person(request)), site_url(request))
        except invitations.NotInvited as error:
            form.add_error("people", str(error))
        except MailAway as error:
            form.add_error(
                None, f"{error} Who is new has an account, and is invited when you try again."
            )
        else:
            _say(request, sent)
            return redirect("people")
    return render(request, "core/invite.html", {"form": form})


def _say(request: HttpRequest, sent: invitations.Sent) -> None:
    known = f" {sent.known} had an account before." if sent.known else ""
    messages.success(request, f"Invitations sent: {sent.sent}.{known}")
    if sent.put_off:
        put_off = f"Put off by the mail server: {sent.put_off}. Invite them again in some minutes."
        messages.warning(request, put_off)
    if sent.refused:
        messages.error(request, f"Refused by the mail server: {sent.refused}, see below.")


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN, everywhere=True)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(User.objects.select_related("membership"), pk=pk)
    form = PersonForm(one, request.POST or None)
    if form.is_valid() and _may_change(request, one, form):
        task.set_role(one, *form.chosen())
        if form.cleaned_data["is_active"]:
            task.let_in(one)
        else:
            task.remove(one)
        messages.success(request, f"{one}: saved.")
        return redirect("people")
    return render(request, "core/person.html", {"person": one, "form": form})


def _may_change(request: HttpRequest, one: User, form: PersonForm) -> bool:
    """Refuse what would lock out the one who does it, and superusers, who have no role."""
    if one.is_superuser and not person(request).is_superuser:
        form.add_error(None, "Only a superuser changes a superuser.")
    elif one == person(request):
        form.add_error(None, "Somebody else has to change what you may do.")
    return not form.errors
