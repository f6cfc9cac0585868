"""Rows as lines of JSON, and back."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models

from core.models.secret import Secret, SecretField, SecretUnreadable
from core.tasks.moving import LONGEST_LINE, ROWS_A_STEP, NotMoved
from core.tasks.moving.seal import Seal

Change = Callable[[Any], Any]
MICROSECOND = timedelta(microseconds=1)


class InWords:
    """Permissions and content types by their names: each database numbers them anew."""

    @cached_property
    def names(self) -> dict[type[models.Model], dict[int, str]]:
        permissions = Permission.objects.values_list(
            "pk", "content_type__app_label", "content_type__model", "codename"
        )
        kinds = ContentType.objects.values_list("pk", "app_label", "model")
        return {
            Permission: {pk: ".".join(words) for pk, *words in permissions},
            ContentType: {pk: ".".join(words) for pk, *words in kinds},
        }

    @cached_property
    def numbers(self) -> dict[type[models.Model], dict[str, int]]:
        return {
            model: {name: pk for pk, name in names.items()} for model, names in self.names.items()
        }

    def number(self, model: type[models.Model], name: str) -> int:
        try:
            return self.numbers[model][name]
        except KeyError:
            raise NotMoved(
                f"Nothing here is called {name}: the other site has more apps."
            ) from None


class Table:
    """One table: reads its rows as lines, and makes rows of lines."""

    def __init__(self, model: type[models.Model], seal: Seal, words: InWords) -> None:
        self.model, self.seal, self.words = model, seal, words
        fields = model._meta.concrete_fields
        self.columns = [field.attname for field in fields]
        self._encoders = [self._encoder(field) for field in fields]
        self._decoders = dict(zip(self.columns, map(self._decoder, fields), strict=True))

    def lines(self) -> Iterator[bytes]:
        """Read the whole table, by primary key, a thousand rows at a time."""
        # The base manager leaves no row out, as a manager of the model's own may.
        rows = self.model._base_manager.order_by("pk").values_list("pk", *self.columns)
        # By key, not by offset: each page costs the same, however long the table is.
        page = list(rows[:ROWS_A_STEP])
        while page:
            for pk, *values in page:
                yield self._line(pk, values)
            page = list(rows.filter(pk__gt=page[-1][0])[:ROWS_A_STEP])

    def _line(self, pk: Any, values: list[Any]) -> bytes:
        name = f"{self.model._meta.verbose_name} {pk}"
        row = []
        for value, encode in zip(values, self._encoders, strict=True):
            try:
                row.append(value if value is None else encode(value))
            except SecretUnreadable as error:
                raise NotMoved(f"{name.capitalize()}: {error}") from error
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        if len(line) > LONGEST_LINE:
            raise NotMoved(f"{name.capitalize()} takes more than {LONGEST_LINE:,} bytes.")
        return line

    def row(self, line: bytes, columns: list[str]) -> models.Model:
        """Make an instance, not stored yet, of a line with these columns."""
        values = {}
        for column, value in zip(columns, json.loads(line), strict=True):
            values[column] = value if value is None else self._decoders[column](value)
        return self.model(**values)

    def _encoder(self, field: "models.Field[Any, Any]") -> Change:
        related = field.related_model
        if related in (Permission, ContentType):
            return self.words.names[related].__getitem__
        if isinstance(field, SecretField):
            # The keys of this site are not at the other: what the file has is under its passphrase.
            return lambda secret: self.seal.encrypt(secret.reveal()) if secret else ""
        if isinstance(field, models.DateTimeField):
            return lambda moment: moment.astimezone(UTC).isoformat()
        if isinstance(field, models.DateField):
            return date.isoformat
        if isinstance(field, models.DurationField):
            # A whole number comes back exactly, as seconds with a fraction might not.
            return lambda duration: duration // MICROSECOND
        return lambda value: value

    def _decoder(self, field: "models.Field[Any, Any]") -> Change:
        related = field.related_model
        if related in (Permission, ContentType):
            return lambda name: self.words.number(related, name)
        if isinstance(field, SecretField):
            return lambda token: Secret.seal(self.seal.decrypt(token) if token else "")
        if isinstance(field, models.DateTimeField):
            return datetime.fromisoformat
        if isinstance(field, models.DateField):
            return date.fromisoformat
        if isinstance(field, models.DurationField):
            return lambda microseconds: timedelta(microseconds=microseconds)
        return lambda value: value
