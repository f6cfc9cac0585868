"""Channels are devices: what hardware a device is of, and stored channels parted.

A Shelly with several switches, lights or covers was one device, with attributes such as `on_1`. The
first channel stays that device, with its rule, holds and history. Each other becomes a device; its
attributes move there whole, with their observations, silences and commands.
"""

import re

from django.db import migrations, models
from django.db.models import F, Q

KINDS = ("switch", "light", "cover", "cct", "rgb", "rgbw")
"""In the order in which they take the plain names."""
NAME = re.compile(
    r"(light_|cover_|cct_|rgb_|rgbw_|)"
    r"(on|brightness|color_temperature|white|color|position|state"
    r"|power|voltage|current|energy|energy_returned|frequency|chip_temperature)(?:_(\d+))?"
)
OF_KIND = {
    "white": "rgbw",
    "color": "rgb",
    "color_temperature": "cct",
    "brightness": "light",
    "position": "cover",
    "state": "cover",
    "on": "switch",
}
"""What tells the kind of a channel whose attributes have plain names; the first counts."""
SHARED = (
    *("gateway_id", "model", "place", "latitude", "longitude", "zone", "region"),
    *("enabled", "removed_at"),
)
TOLERANCE = 50
"""By so many K a light may round its colour temperature."""


def part_channels(apps, schema_editor):
    models_of = Stored(apps)
    several = models_of.devices_with_channels()
    moved = {}
    for device in several:
        moved |= _part(models_of, device)
    _follow_in_rules(models_of.Device, moved)
    if moved:
        # Who follows the log from an event on starts over, and sees the new devices.
        models_of.Event.objects.all().delete()


class Stored:
    def __init__(self, apps):
        for name in ("Attribute", "Device", "Event", "Token"):
            setattr(self, name, apps.get_model("core", name))

    def devices_with_channels(self):
        """Find Shelly devices that may have more than one channel."""
        is_shelly = Q(device__gateway__vendor__in=("shelly", "shelly_cloud"))
        is_shelly |= Q(device__gateway__vendor="mqtt", device__vendor_id__startswith="shelly:")
        is_other = Q(name__regex=r"^[a-z_]*(on|position|state)_[0-9]+$")
        is_other |= Q(name__regex=r"^(light|cover|cct|rgb|rgbw)_(on|position|state)$")
        found = self.Attribute.objects.filter(is_shelly, is_other)
        return self.Device.objects.filter(pk__in=found.values("device")).order_by("pk")


def _part(stored, device):
    """Part a device. Return new places, (device, attribute's name) by those of before."""
    channels = _channels(device.attributes.all())
    if len(channels) < 2:
        return {}
    now_at = {}
    device.hardware, device.hardware_name = device.vendor_id, device.name
    for place, (kind, number) in enumerate(sorted(channels)):
        if place:
            found = channels[kind, number]
            key = f"{KINDS[kind]}:{number}"
            channel = _channel(stored, device, key, f"{device.name} {place + 1}", found)
            for attribute, name in found:
                now_at[device.pk, attribute.name] = channel.pk, name
                stored.Attribute.objects.filter(pk=attribute.pk).update(device=channel, name=name)
            for token in stored.Token.objects.filter(devices=device):
                token.devices.add(channel)
    device.history_version += 1
    device.save()
    return now_at


def _channels(attributes):
    """Return the attributes of each channel, each with its plain name, by kind and number."""
    groups = {}
    for attribute in attributes:
        if found := NAME.fullmatch(attribute.name):
            prefix, name, number = found.groups()
            groups.setdefault((prefix, int(number or 0)), []).append((attribute, name))
    channels = {}
    for (prefix, number), found in groups.items():
        names = {name for _, name in found}
        told = next((kind for name, kind in OF_KIND.items() if name in names), None)
        if told:  # what is only measured is no channel
            kind = prefix.rstrip("_") or told
            channels[KINDS.index(kind), number] = found
    return channels


def _channel(stored, device, key, name, found):
    heard = [attribute.heard_at for attribute, _ in found if attribute.heard_at]
    channel, _ = stored.Device.objects.get_or_create(
        gateway_id=device.gateway_id,
        vendor_id=f"{device.vendor_id}/{key}",
        defaults={
            **{field: getattr(device, field) for field in SHARED},
            "name": name[:120],
            "hardware": device.hardware,
            "hardware_name": device.hardware_name,
            "heard_at": max(heard, default=None),
            "available": any(attribute.available for attribute, _ in found),
            "history_version": device.history_version + 1,
        },
    )
    return channel


def _follow_in_rules(Device, moved):
    """Rules that look at an attribute look where it is now; device 0 is the rule's own."""
    for device in Device.objects.filter(Q(rule="when") | Q(guard="when")):
        for field in ("options", "guard_options"):
            options = getattr(device, field)
            before = (options.get("device") or device.pk, options.get("attribute"))
            if before in moved:
                options["device"], options["attribute"] = moved[before]
                device.version = F("version") + 1
                device.save(update_fields=[field, "version"])


def set_tolerance(apps, schema_editor):
    apps.get_model("core", "Attribute").objects.filter(
        name__contains="color_temperature", unit="K", writable=True
    ).update(tolerance=TOLERANCE)


class Migration(migrations.Migration):

    dependencies = [
        ("core", "0027_calibration"),
    ]

    operations = [
        migrations.AddField(
            model_name="attribute",
            name="tolerance",
            field=models.FloatField(blank=True, help_text="The device may round what is ordered by so much", null=True),
        ),
        migrations.AddField(
            model_name="device",
            name="hardware",
            field=models.CharField(blank=True, editable=False, help_text="The same for devices of the gateway that are one thing, such as its channels", max_length=200),
        ),
        migrations.AddField(
            model_name="device",
            name="hardware_name",
            field=models.CharField(blank=True, editable=False, max_length=120),
        ),
        migrations.RunPython(part_channels, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(set_tolerance, migrations.RunPython.noop, elidable=True),
    ]
