"""Follow what a vendor says an attribute is: kind, unit, range, step, choices, writable or not.

Values of one attribute are of one unit and one kind, or charts, rules and scores would mix them. So
a value in another unit of the same quantity is converted to the stored one. Where that cannot be,
the attribute of before is renamed and kept with its history, `power (W)`, and a new one takes its
name: rules, pages and orders know an attribute by name, and shall get the present one. If the
vendor changes back, so do the names.
"""

from dataclasses import replace

from django.conf import settings

from core.models import Attribute
from core.readings import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_CHOICES,
    AttributeSpec,
    Kind,
    Unacceptable,
    clean_name,
)
from core.tasks.polling.units import are_convertible, converted

LONGEST_UNIT = 20


def clean_spec(spec: AttributeSpec) -> AttributeSpec:
    """Return a vendor's description in a form that can be stored."""
    choices = tuple(
        word for word in spec.choices if word.isprintable() and len(word) <= LONGEST_TEXT
    )
    return replace(
        spec,
        name=clean_name(spec.name),
        unit=clean_name(spec.unit)[:LONGEST_UNIT],
        choices=choices if len(choices) <= MOST_CHOICES else (),
    )


def fitted(kind: str, unit: str, spec: AttributeSpec) -> AttributeSpec | None:
    """Return the description under which new values go on with stored ones of this kind and unit.

    None: they cannot. What is ordered stays in the device's own unit, and is never converted.
    """
    stored = Kind(kind)
    if stored is not spec.kind and (stored.is_number or spec.kind.is_number):
        return None
    if stored is not Kind.NUMBER or spec.unit == unit:
        return spec
    if spec.writable or not are_convertible(spec.unit, unit):
        return None
    return replace(
        spec,
        unit=unit,
        minimum=_converted(spec.minimum, spec.unit, unit),
        maximum=_converted(spec.maximum, spec.unit, unit),
    )


def describe(attribute: Attribute, spec: AttributeSpec) -> None:
    """Store a description on an attribute whose values it fits. Call it inside publishing()."""
    attribute.kind, attribute.unit, attribute.writable = spec.kind, spec.unit, spec.writable
    attribute.minimum, attribute.maximum, attribute.step = spec.minimum, spec.maximum, spec.step
    attribute.tolerance = spec.tolerance
    attribute.choices = list(spec.choices)
    attribute.save()


def set_apart(attribute: Attribute, spec: AttributeSpec) -> tuple[Attribute, str]:
    """Rename an attribute, and give its name to one of the new description.

    Return that one, and a sentence for people. Call it inside publishing(), with the device locked.
    Raises Unacceptable if the device has no room for another attribute.
    """
    name, before = attribute.name, _in_words(attribute.kind, attribute.unit)
    present = Attribute.objects.filter(
        device=attribute.device_id, name=_name_apart(name, spec.kind, spec.unit)
    ).first()
    if present is None and attribute.device.attributes.count() >= settings.MOST_ATTRIBUTES:
        raise Unacceptable(
            f"it is {_in_words(spec.kind, spec.unit)} now, and the device already has as many "
            "attributes as it may have (MOST_ATTRIBUTES)"
        )
    attribute.name = _name_apart(name, attribute.kind, attribute.unit)
    attribute.writable = attribute.available = False
    attribute.save()
    if present is None:
        present = Attribute(device_id=attribute.device_id)
    present.name = name
    # What we ordered then is no measure of who changes it now.
    present.expected_number = present.expected_text = present.expected_at = None
    describe(present, spec)
    now = _in_words(spec.kind, spec.unit)
    return present, (
        f"{name} is {now} now, which does not go with {before}: it is stored apart, "
        f"and the earlier values are kept as {attribute.name!r}."
    )


def _name_apart(name: str, kind: str, unit: str) -> str:
    said = (unit or kind) if kind == Kind.NUMBER else kind
    # Both are text in the table.
    said = Kind.TEXT.value if kind == Kind.CHOICE else said
    return f"{name[: LONGEST_NAME - LONGEST_UNIT - 3]} ({said})"


def _in_words(kind: str, unit: str) -> str:
    return f"a number in {unit}" if kind == Kind.NUMBER and unit else f"a {Kind(kind).value}"


def _converted(number: float | None, unit: str, wanted: str) -> float | None:
    return None if number is None else converted(number, unit, wanted)
