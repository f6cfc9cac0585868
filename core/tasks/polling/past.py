"""Make rows of old readings, from the history that a vendor keeps."""

from dataclasses import replace
from datetime import datetime

from core.readings import AttributeSpec, Kind, Reading, Unacceptable, clean_value
from core.tasks.polling.attribute_row import AttributeRow
from core.tasks.polling.description import clean_spec, fitted
from core.tasks.polling.statements import ObservationRow
from core.tasks.polling.units import converted


def past_row(attribute: AttributeRow, reading: Reading, observed_at: datetime) -> ObservationRow:
    """Make the row of an old reading, in the unit that is stored now. Raises Unacceptable."""
    said: object = reading.value
    if reading.spec is not None and not attribute.is_described_by(reading.spec):
        said = _as_stored(attribute, reading, clean_spec(reading.spec))
    value = attribute.clean(said)
    if isinstance(value, str):
        return ObservationRow(attribute.pk, observed_at, None, value)
    return ObservationRow(attribute.pk, observed_at, value, None)


def _as_stored(attribute: AttributeRow, reading: Reading, spec: AttributeSpec) -> object:
    """Return the value in the unit of the attribute. Raises Unacceptable if it has none there.

    What the attribute was then does not change what it is now.
    """
    if fitted(attribute.kind, attribute.unit, replace(spec, writable=False)) is None:
        then = f"a number in {spec.unit}" if spec.kind is Kind.NUMBER else f"a {spec.kind.value}"
        raise Unacceptable(f"it was {then} then, which does not go with what it is now")
    if spec.kind is Kind.NUMBER and spec.unit != attribute.unit:
        number = clean_value(reading.value, Kind.NUMBER)
        return converted(float(number), spec.unit, attribute.unit)
    return reading.value
