"""The log-in, one page for the site and for the admin."""

from typing import Any

from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from core.models import User
from core.tasks.log_in import LogInRefused

TOO_MANY_REQUESTS = 429


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
