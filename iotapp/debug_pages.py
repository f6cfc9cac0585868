"""What the pages of errors with DEBUG, and mails about errors, do not show."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

LINK_CODE = re.compile(r"(?:invitation|log-in)\.[\w-]+")
"""The code of a link, which logs somebody in. A mangled link has it in its path or its query."""


class HidesCredentials(SafeExceptionReporterFilter):
    """Hide settings, headers and fields of forms by name, and the values of all variables.

    A variable of any name may hold a credential: bodies, requests, arguments, parsed answers.
    """

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|CREDENTIAL|COOKIE|^CODE$|^MAIL$"
        # The development server has all variables of the environment in META.
        "|(DATABASE|EMAIL|REDIS|RELAY)_URL|SENTRY_DSN"
        # Of CACHES, where it holds the password of Redis.
        "|^LOCATION$",
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


class HidesLinks(ExceptionReporter):
    """Hide the codes of links wherever they stand: paths, queries, referrers, texts of errors."""

    def get_traceback_html(self) -> SafeString:
        return _without_codes(super().get_traceback_html())

    def get_traceback_text(self) -> SafeString:
        return _without_codes(super().get_traceback_text())


def _without_codes(page: SafeString) -> SafeString:
    # It is as safe as before: of it only letters, digits, hyphens and a full stop are replaced.
    return SafeString(LINK_CODE.sub(SafeExceptionReporterFilter.cleansed_substitute, page))
