"""What every view of the API is."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpResponse
from django.utils.cache import get_conditional_response, patch_cache_control
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from core.api.pagination import page
from core.api.permissions import access_of_request
from core.api.problems import NOTHING_HERE
from core.api.query import Query, parse_query
from core.models import Attribute, Device
from core.models.access import Access, Right, refusal
from core.models.attribute import AttributeQuerySet
from core.models.device import DeviceQuerySet

Json = dict[str, Any]
Row = TypeVar("Row", bound=Model)


class Resource(APIView):
    """One address: who may use it, what it takes, and what it answers.

    `self.access` is what the one who asks may do, `self.wanted` the parameters of `query`. Answers
    to GET carry an ETag, and 304 where the client has the same already.
    """

    right: ClassVar[Right] = Right.READ
    right_to_write: ClassVar[Right] = Right.CONTROL
    needs_log_in: ClassVar[bool] = False
    """Even where what may be read is public."""
    query: ClassVar[type[Query]] = Query

    access: Access
    wanted: dict[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # Of a method that is not there, no parameter is right or wrong.
        method = str(request.method).lower()
        if method not in self.http_method_names or not hasattr(self, method):
            self.http_method_not_allowed(request, *args, **kwargs)
        self.access = access_of_request(request)
        self.wanted = parse_query(self.query_of(request), request)

    def query_of(self, request: Request) -> type[Query]:
        """Return the parameters of a request; where they go by its method, a resource says so."""
        return self.query

    @property
    def has_log_in(self) -> bool:
        """Whether a person or a token asks. Without, answers are the `anonymous_...` ones."""
        return self.request.user.is_authenticated

    @property
    def sees_all(self) -> bool:
        """Whether addresses and where the home is are shown, as in commands."""
        return self.access.may(Right.ADMIN)

    def devices(self) -> DeviceQuerySet:
        """Return the devices that may be seen."""
        return self.access.limit_devices(Device.objects.present())

    def attributes(self) -> AttributeQuerySet:
        """Return the attributes of the devices that may be seen."""
        return self.access.limit_attributes(Attribute.objects.present())

    def conditions(self, **lookups: str) -> dict[str, Any]:
        """Make the conditions of those parameters that were given: `since="decided_at__gt"`."""
        wanted = self.wanted
        return {lookup: wanted[name] for name, lookup in lookups.items() if name in wanted}

    def one(self, found: QuerySet[Row], **which: Any) -> Row:
        """Return the row, or answer 404: also where it is there and may not be seen."""
        row = found.filter(**which).first()
        if row is None:
            raise NotFound(NOTHING_HERE)
        return row

    def device(self, pk: int, right: Right) -> Device:
        """Return a device for which the right is there.

        Answers 403 where it may only be seen, else 404.
        """
        device = self.one(Device.objects.present().select_related("gateway"), pk=pk)
        if self.access.may(right, device=device):
            return device
        if self.access.may(Right.READ, device=device):
            raise PermissionDenied(refusal(right))
        raise NotFound(NOTHING_HERE)

    def page(
        self,
        found: QuerySet[Row],
        keys: Sequence[str],
        shown: Callable[[list[Row]], list[Json]],
    ) -> Response:
        """Answer the page of `limit` rows after `cursor`."""
        rows, cursor = page(found, keys, self.wanted["limit"], self.wanted.get("cursor"))
        here = self.request.build_absolute_uri()
        following = replace_query_param(here, "cursor", cursor) if cursor else None
        return Response({"results": shown(rows), "next": following})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_cache_control(response, private=True, no_cache=True)
        if request.method in ("GET", "HEAD") and isinstance(response, Response):
            response.add_post_render_callback(self._unless_known)
        return response

    def _unless_known(self, response: Response) -> HttpResponse | None:
        """Give the answer an ETag; answer 304 if the client has it."""
        if response.status_code != 200:
            return None
        response.headers["ETag"] = etag = etag_of(response.content)
        return get_conditional_response(self.request._request, etag=etag, response=response)


def etag_of(content: bytes) -> str:
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return f'"{digest}"'


class Nothing(Resource):
    """Any other address under /api/."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request, force=True
        )
        raise NotFound("There is nothing at this address. See /api/v1/docs/.")
