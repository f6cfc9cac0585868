"""Options of rules that name a device, or an attribute of one: looked up when a rule is set."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from core.feeds._options import may_be_itself
from core.models import Device
from core.models.device import DeviceQuerySet
from core.rules import Rule

Options = dict[str, object]


def with_numbers(rule: Rule, typed: Mapping[str, object], among: DeviceQuerySet) -> Options:
    """Replace the names of devices by their numbers, which survive renaming.

    Raises ValueError with a sentence for a device that is not `among` these.
    """
    found = dict(typed)
    for name in rule.device_options:
        if name in typed and str(typed[name]) != "0":
            found[name] = _number_of(name, str(typed[name]).strip(), among)
    return found


def _number_of(option: str, wanted: str, among: DeviceQuerySet) -> int:
    if re.fullmatch("[0-9]{1,18}", wanted):
        found = among.filter(pk=int(wanted))
    else:
        found = among.filter(name__iexact=wanted)
    pks = list(found.order_by("pk").values_list("pk", flat=True)[:10])
    if not pks:
        raise ValueError(f"{option}: there is no device {wanted!r}.")
    if len(pks) > 1:
        numbers = ", ".join(map(str, pks))
        raise ValueError(
            f"{option}: several devices are called {wanted!r}: {numbers}. Give the number."
        )
    return pks[0]


def attribute_names(rule: Rule, options: Any, own: Device) -> dict[str, str]:
    """Return the options that name an attribute, each as the attribute is stored.

    `own` is the device that gets the rule, which 0 stands for. Raises ValueError with a sentence,
    and the attributes that there are, for one that the device does not have.
    """
    found: dict[str, str] = {}
    by_name = {option.name: option for option in fields(rule.options)}
    for option in by_name.values():
        if of := option.metadata.get("attribute_of"):
            number = getattr(options, of)
            if not number and not may_be_itself(by_name[of]):
                continue
            device = Device.objects.present().get(pk=number) if number else own
            found[option.name] = _stored_name(option.name, getattr(options, option.name), device)
    return found


def _stored_name(option: str, wanted: str, device: Device) -> str:
    """Find an attribute: pages show "rain sensor" for "rain_sensor"."""
    names = list(device.attributes.order_by("name").values_list("name", flat=True))
    sought = wanted.strip().replace(" ", "_").casefold()
    if wanted in names:
        return wanted
    for name in names:
        if name.casefold() == sought:
            return name
    raise ValueError(
        f"{option}: {device} has no {wanted!r}. It has: {', '.join(names) or 'nothing yet'}."
    )
