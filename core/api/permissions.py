"""What the one who asks may do, and where. Every view states the right that it needs."""

from typing import TYPE_CHECKING, Any, cast

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from core.models.access import Access, Right, access_of, refusal

if TYPE_CHECKING:  # rest_framework.views itself imports this file
    from rest_framework.views import APIView

    from core.api.resource import Resource


def access_of_request(request: Request) -> Access:
    """Return what the person may do; with a token, what both the token and its person may."""
    access = access_of(request.user)
    token: Any = request.auth
    if token is None:
        return access
    limits: Access = token.access
    return access & limits


def right_needed(view: "Resource", method: str | None) -> Right:
    return view.right if method in SAFE_METHODS else view.right_to_write


class HasRight(BasePermission):
    """Let in who has the right of the view. Which devices it reaches is the view's question."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        resource = cast("Resource", view)
        if resource.needs_log_in and not request.user.is_authenticated:
            return False
        right = right_needed(resource, request.method)
        self.message = refusal(right)
        return access_of_request(request).may(right)
