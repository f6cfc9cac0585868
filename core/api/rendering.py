"""JSON out and in."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from core.net.strict_json import parse


class Rendered(bytes):
    """An answer that is JSON already."""


class JsonRenderer(BaseRenderer):
    """Write what core/serializers.py returns: plain dicts, lists, texts and numbers."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        if isinstance(data, Rendered):
            return data
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


class CsvRenderer(BaseRenderer):
    """Stands for CSV where formats are chosen: such answers are streamed, and pass it by."""

    media_type = "text/csv"
    format = "csv"


class LinesRenderer(BaseRenderer):
    """Stands for JSON by lines, as CsvRenderer does for CSV."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class JsonParser(BaseParser):
    """Read JSON, without what no database stores or no arithmetic survives."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return parse(stream.read())
        except ValueError:
            raise ParseError("The body is no JSON that can be read.") from None
