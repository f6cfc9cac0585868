"""The page of the home: its name, time zone and place, which its devices inherit."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from core.forms import SiteForm
from core.models import Right, Site
from core.tasks import site as task
from core.views.access import permitted


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN, everywhere=True)
def site(request: HttpRequest) -> HttpResponse:
    form = SiteForm(request.POST or None, instance=Site.home())
    if form.is_valid():
        changed = task.set_site(**form.cleaned_data)
        messages.success(request, f"{changed}: saved. {task.clock_in_words(changed)}")
        return redirect("status")
    return render(request, "core/site.html", {"form": form, "site": Site.home()})
