"""Say where the home is, and by which clock it lives."""

from typing import Any

from core.models import Device, Site
from core.tasks.events.outbox import publishing


def set_site(**fields: Any) -> Site:
    """Set what is given of the home: name, zone, place, latitude, longitude.

    Open pages hear of its devices, which inherit it. Raises ValidationError.
    """
    with publishing() as outbox:
        # The lock of the row makes two who set different fields wait for each other.
        Site.objects.get_or_create()
        site = Site.objects.select_for_update(no_key=True).get()
        for name, value in fields.items():
            setattr(site, name, value)
        site.full_clean()
        site.save()
        outbox.changed_pks(Device, Device.objects.present().values_list("pk", flat=True))
    return site


def in_words(site: Site) -> str:
    """Write what is known of the home in a line, and its clock in another."""
    known = [site.place] if site.place else []
    if site.latitude is not None and site.longitude is not None:
        known.append(f"latitude {site.latitude:g}, longitude {site.longitude:g}")
    about = ", ".join(known) or "its place is not set"
    return f"{site}: {about}.\n{clock_in_words(site)}"


def clock_in_words(site: Site, device: Device | None = None) -> str:
    """Say by which clock rules go, those of a device or all; what to do where nobody set it."""
    if device and device.zone:
        return f"Times of its rules are those of {device.zone}."
    if site.zone:
        return f"Times of rules are those of {site.zone}."
    return (
        f"Nobody has set the clock of the home: times of rules are those of {site.clock}. "
        "Set it: python manage.py set_site --zone Europe/Berlin"
    )
