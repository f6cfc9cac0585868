"""People in the admin, and who may change whom."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from core.admin.lists import Base
from core.models import Membership, User
from core.tasks import people

if TYPE_CHECKING:
    from django.contrib.admin.options import BaseModelAdmin as Admin
else:
    Admin = object


def is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


class NotOfSuperusers(Admin):  # type: ignore[type-arg]  # generic only in the stubs
    """Of people and their roles: only a superuser changes or deletes those of superusers.

    An administrator could set the password of one otherwise, and be one. Django asks these for the
    page of the password too, and for each row that is deleted from a list.
    """

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_change(request, obj)


def _may_change(request: HttpRequest, row: Any) -> bool:
    user = row.user if isinstance(row, Membership) else row
    return user is None or not user.is_superuser or is_superuser(request)


class MembershipInline(NotOfSuperusers, admin.StackedInline):  # type: ignore[type-arg]  # generic only in the stubs
    model = Membership
    filter_horizontal = ("gateways",)


@admin.register(User)
class PersonAdmin(NotOfSuperusers, UserAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """With the role in place of Django's permissions, which grant nothing here."""

    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Personal info", {"fields": ("first_name", "last_name", "email")}),
        ("May log in", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Important dates", {"fields": ("last_login", "date_joined")}),
    )
    filter_horizontal = ()
    list_filter = ("membership__role", "is_staff", "is_superuser", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if is_superuser(request) else (*fields, "is_superuser")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not obj.is_active:
            people.remove(obj)


@admin.register(Membership)
class MembershipAdmin(NotOfSuperusers, Base):
    list_display = ("user", "role", "everywhere")
    list_filter = ("role", "everywhere")
    search_fields = ("user__username",)
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    filter_horizontal = ("gateways",)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **named: Any) -> Any:
        if db_field.name == "user" and not is_superuser(request):
            named["queryset"] = User.objects.filter(is_superuser=False)
        return super().formfield_for_foreignkey(db_field, request, **named)
