"""The tables: one file for each thing and its query set."""

from core.models.attribute import Attribute
from core.models.device import Device
from core.models.device_command import DeviceCommand
from core.models.event import Event
from core.models.forecast import FeedSource, Forecast, Measurement, Series
from core.models.freshness import Freshness
from core.models.gateway import Gateway
from core.models.observation import Observation, Silence
from core.models.plan import Plan
from core.models.presence import Presence
from core.models.receipt import Receipt
from core.models.run import Lease, Run
from core.models.secret import Secret, SecretUnreadable
from core.models.site import Site
from core.models.user import User

__all__ = [
    "Attribute",
    "Device",
    "DeviceCommand",
    "Event",
    "FeedSource",
    "Forecast",
    "Freshness",
    "Gateway",
    "Lease",
    "Measurement",
    "Observation",
    "Plan",
    "Presence",
    "Receipt",
    "Run",
    "Secret",
    "SecretUnreadable",
    "Series",
    "Silence",
    "Site",
    "User",
]
