"""Admin pages whose changes are published as events."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from core.tasks.events.outbox import is_publishing, publishing


class PublishingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Publish adding, changing, deleting, actions and edited lists.

    The admin's own log is written in the same transaction; reading opens none. The model must
    be Evented, or `save_model()` must publish.
    """

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        with _publishing(request):
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        """Lock the row if it may be changed: all fields are saved, also those a poll writes."""
        found: Model | None = super().get_object(request, object_id, from_field)
        if found is None or not is_publishing():
            return found
        rows: QuerySet[Model] = self.model._default_manager.order_by()
        return rows.select_for_update(of=("self",), no_key=True).filter(pk=found.pk).first()

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with _publishing(request):
            return super().delete_view(request, object_id, extra_context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with _publishing(request):
            return super().changelist_view(request, extra_context)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Publish a bulk delete, which does not call `delete()`."""
        with publishing() as outbox:
            for instance in queryset:
                outbox.changed(instance)
            super().delete_queryset(request, queryset)


def _publishing(request: HttpRequest) -> AbstractContextManager[object]:
    return nullcontext() if request.method in ("GET", "HEAD", "OPTIONS", "TRACE") else publishing()
