"""Admin lists that stay fast with millions of rows."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from core.forms.text import TextField

COUNTED_AT_MOST = 10_000
"""Rows counted for the number of pages: counting millions takes seconds."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return (
            rows.order_by()[:COUNTED_AT_MOST].count() if isinstance(rows, QuerySet) else len(rows)
        )


class Base(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    paginator = BoundedPaginator
    formfield_overrides = {models.CharField: {"form_class": TextField}}
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 50


class ReadOnly(Base):
    """Written by tasks alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class OfOne(ReadOnly):
    """Rows listed only for one attribute, series or device, named by the field `of`.

    That uses an index; a list over all of them would sort millions.
    """

    of = ""
    sortable_by = ()

    @property
    def chosen(self) -> str:
        return f"{self.of}__id__exact"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows if request.GET.get(self.chosen) or self._is_of_one_row(request) else rows.none()

    def _is_of_one_row(self, request: HttpRequest) -> bool:
        return bool(request.resolver_match and "object_id" in request.resolver_match.kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        if not request.GET.get(self.chosen):
            title = f"Open one {self.of} to see its {self.opts.verbose_name_plural}"
            extra_context = {**(extra_context or {}), "title": title}
        return super().changelist_view(request, extra_context)
