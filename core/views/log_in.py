"""The log-in, one page for the site and for the admin."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django.views.generic import FormView

from core.forms.people import AskForLinkForm, LinkForm
from core.models import User
from core.tasks import links
from core.tasks.log_in import LogInRefused, address_of
from core.tasks.mail import MailAway
from core.views.access import person

TOO_MANY_REQUESTS = 429
CAME_BY_LINK = "came_by_link"


class LogIn(LoginView):
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(request, *args, **kwargs)
        except LogInRefused as refused:
            context = self.get_context_data(form=self.get_form_class()(request), refused=refused)
            return self.render_to_response(context, status=TOO_MANY_REQUESTS)


@require_safe
def admin_log_in(request: HttpRequest) -> HttpResponse:
    """Lead to the log-in page. The admin sends those here too who are logged in and no staff."""
    if isinstance(request.user, User):
        raise PermissionDenied("Your account may not use the admin. Somebody of the staff can.")
    return redirect_to_login(request.GET.get("next", "/admin/"))


def site_url(request: HttpRequest) -> str:
    """Return where links in mails lead to. Raises MailAway if that could be anybody's site.

    Whoever asks names the host of the page: a link to a log-in must not lead to one of theirs.
    """
    if settings.SITE_URL:
        return settings.SITE_URL
    if any(host.startswith(("*", ".")) for host in settings.ALLOWED_HOSTS):
        raise MailAway("This site sends no links: SITE_URL, which they lead to, is not set.")
    return request.build_absolute_uri("/")


@require_http_methods(["GET", "HEAD", "POST"])
def ask_for_link(request: HttpRequest) -> HttpResponse:
    """Send a link to log in, for who has no password yet or forgot it."""
    form = AskForLinkForm(request.POST or None)
    if form.is_valid():
        email = form.cleaned_data["email"]
        try:
            links.ask_for_link(email, address_of(request), site_url(request))
        except MailAway as error:
            form.add_error(None, str(error))
        else:
            messages.info(
                request,
                f"If somebody here has the address {email}, a mail with a link is on its way.",
            )
            return redirect("login")
    return render(request, "registration/ask_for_link.html", {"form": form})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def link(request: HttpRequest) -> HttpResponse:
    """Show a button by GET, which uses nothing up; log in by POST."""
    form = LinkForm(request.POST or None)
    status = 200
    if form.is_valid():
        backend = settings.AUTHENTICATION_BACKENDS[0]
        if links.use_link(
            form.cleaned_data["code"], lambda user: login(request, user, backend=backend)
        ):
            request.session[CAME_BY_LINK] = True
            return redirect("set_password")
        form.add_error("code", "This link was used, is too old, or is not whole. Ask for one more.")
        status = 400
    response = render(request, "registration/link.html", {"form": form}, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


class SetPassword(LoginRequiredMixin, FormView):  # type: ignore[type-arg]  # generic only in stubs
    """Set a password after a link. Otherwise the old one is asked: it may be somebody else who
    found an open page."""

    template_name = "registration/set_password.html"
    success_url = reverse_lazy("status")

    def get_form_class(self) -> type[Any]:
        knows_none = not person(self.request).has_usable_password()
        if knows_none or self.request.session.get(CAME_BY_LINK):
            return SetPasswordForm
        return PasswordChangeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"user": self.request.user}

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.save()
        # Other log-ins of this person end with the password of before; this one goes on.
        login(self.request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
        messages.success(self.request, "Your password is set.")
        return super().form_valid(form)
