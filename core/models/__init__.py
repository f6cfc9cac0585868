"""The tables: one file for each thing and its query set."""

from core.models.access import Access, Membership, Right, Role, access_of
from core.models.alert import Alert, AlertMessage
from core.models.attribute import Attribute
from core.models.calibration import Calibration
from core.models.device import Device
from core.models.device_command import DeviceCommand
from core.models.event import Event
from core.models.forecast import FeedSource, Forecast, Measurement, Series
from core.models.freshness import Freshness
from core.models.gateway import Gateway
from core.models.hourly import HourlyStatistics
from core.models.idempotency import IdempotencyKey
from core.models.invitation import Invitation
from core.models.lookups import Among
from core.models.observation import Observation, Silence
from core.models.plan import Plan
from core.models.presence import Presence
from core.models.receipt import Receipt
from core.models.relay import Relay
from core.models.run import Lease, Run
from core.models.secret import Secret, SecretUnreadable
from core.models.signed_message import SignedMessage
from core.models.site import Site
from core.models.site_import import HalfASite, SiteImport
from core.models.strike import LightningStrike
from core.models.token import Token
from core.models.usage import Usage
from core.models.user import User

__all__ = [
    "Access",
    "Alert",
    "AlertMessage",
    "Among",
    "Attribute",
    "Calibration",
    "Device",
    "DeviceCommand",
    "Event",
    "FeedSource",
    "Forecast",
    "Freshness",
    "Gateway",
    "HalfASite",
    "HourlyStatistics",
    "IdempotencyKey",
    "Invitation",
    "Lease",
    "LightningStrike",
    "Measurement",
    "Membership",
    "Observation",
    "Plan",
    "Presence",
    "Receipt",
    "Relay",
    "Right",
    "Role",
    "Run",
    "Secret",
    "SecretUnreadable",
    "Series",
    "Silence",
    "SignedMessage",
    "Site",
    "SiteImport",
    "Token",
    "Usage",
    "User",
    "access_of",
]
