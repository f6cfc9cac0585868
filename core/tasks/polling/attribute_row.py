"""What `record()` reads of a stored attribute, to check its readings."""

import json
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, Self

from core.readings import AttributeSpec, Kind, clean_value


class AttributeRow(NamedTuple):
    """The columns of a stored attribute that are needed to check its readings.

    `choices_json` is None unless the kind is CHOICE. `silent_since` is the time when the attribute
    was last heard if that is too long ago, else None.
    """

    device_pk: int
    name: str
    pk: int
    kind: str
    writable: bool
    unit: str
    minimum: float | None
    maximum: float | None
    step: float | None
    choices_json: str | None
    silent_since: datetime | None

    def clean(self, said: object) -> float | str:
        """Return a value that this attribute can have. Raises Unacceptable."""
        return clean_value(
            said,
            Kind(self.kind),
            minimum=self.minimum,
            maximum=self.maximum,
            choices=self.choices,
        )

    @property
    def choices(self) -> tuple[str, ...]:
        return _choices(self.choices_json) if self.choices_json else ()

    def is_described_by(self, spec: AttributeSpec) -> bool:
        return (
            self.kind == spec.kind
            and self.unit == spec.unit
            and self.writable == spec.writable
            and self.minimum == spec.minimum
            and self.maximum == spec.maximum
            and self.step == spec.step
            and (self.choices_json is None or self.choices == spec.choices)
        )

    def described_by(self, spec: AttributeSpec) -> Self:
        choices = json.dumps(spec.choices) if spec.kind is Kind.CHOICE else None
        return self._replace(
            kind=spec.kind.value,
            writable=spec.writable,
            unit=spec.unit,
            minimum=spec.minimum,
            maximum=spec.maximum,
            step=spec.step,
            choices_json=choices,
        )


@lru_cache(maxsize=1024)
def _choices(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
