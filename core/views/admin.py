"""The admin site. It is not in core/admin/, since that registers with it while it is imported:
made from there, the site would be made twice, and the second one would be empty."""

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from core.models import Right, access_of


class OurSite(AdminSite):
    """For administrators of everything: its lists know no limits to gateways."""

    def has_permission(self, request: HttpRequest) -> bool:
        is_ours = access_of(request.user).may_everywhere(Right.ADMIN)
        return super().has_permission(request) and is_ours
