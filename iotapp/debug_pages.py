"""What the pages of errors with DEBUG, and mails about errors, do not show."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class HidesCredentials(SafeExceptionReporterFilter):
    """Hide settings, headers and fields of forms by name, and the values of all variables.

    A variable of any name may hold a credential: bodies, requests, arguments, parsed answers.
    """

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|CREDENTIAL|DATABASE_URL|COOKIE",
        flags=re.IGNORECASE,
    )

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        if request is None:
            return {}
        return {name: self.cleanse_setting(name, value) for name, value in request.POST.items()}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()
