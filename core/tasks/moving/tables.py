"""Which tables move, and why the others do not. A test holds that these are all."""

from django.apps import apps
from django.db.models import Model

# Each after those that its rows name: the foreign keys are checked at every step's commit.
MOVED = (
    "core.Site",
    "auth.Group",
    "auth.Group_permissions",
    "core.User",
    "core.User_groups",
    "core.User_user_permissions",
    "core.Gateway",
    "core.Device",
    "core.Attribute",
    "core.Membership",
    "core.Membership_gateways",
    "core.Invitation",
    "core.Token",
    "core.Token_gateways",
    "core.Token_devices",
    "core.Usage",
    "core.SignedMessage",
    "core.DeviceCommand",
    "core.IdempotencyKey",
    "core.Plan",
    "core.Receipt",
    "core.Run",
    "core.Alert",
    "core.AlertMessage",
    "core.FeedSource",
    "core.Series",
    "core.Forecast",
    "core.Measurement",
    "core.Calibration",
    "core.Silence",
    "core.Observation",
    "core.HourlyStatistics",
    "admin.LogEntry",
)
LEFT_OUT = {
    "auth.Permission": "migrate makes them; rows that name one name it in words",
    "contenttypes.ContentType": "migrate makes them; rows that name one name it in words",
    "sessions.Session": "signed with the other site's SECRET_KEY: people log in again",
    "core.Event": "kept for two hours, for open pages, which read all anew at another site",
    "core.Lease": "says which process of the other site runs a task",
    "core.LightningStrike": "kept for two hours, for nowcasts, and told anew where storms go on",
    "core.Presence": "says who is at a page of the other site now",
    "core.Relay": "how far in the other site's events its relay was",
    "core.SiteImport": "how far an import into the other site was",
}
NUMBERED_ON = ("core.Event",)
"""Left out, but numbered on from where the other site was: programs remember such numbers."""


def model_of(label: str) -> type[Model]:
    app, name = label.split(".")
    return apps.get_model(app, name)
