"""The models, one file an aggregate."""

from core.models.device import Attribute, Device, Freshness
from core.models.device_command import DeviceCommand
from core.models.gateway import Gateway
from core.models.observation import Observation, Silence
from core.models.run import Lease, Run
from core.models.secret import Secret, SecretUnreadable
from core.models.user import User

__all__ = [
    "Attribute",
    "Device",
    "DeviceCommand",
    "Freshness",
    "Gateway",
    "Lease",
    "Observation",
    "Run",
    "Secret",
    "SecretUnreadable",
    "Silence",
    "User",
]
