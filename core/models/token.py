"""Tokens: what programs log in with, and what each may do."""

import re
import secrets
import zlib
from datetime import datetime, timedelta
from hashlib import sha256
from string import ascii_letters, digits
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import cached_property

from core.models.access import Access, Right, access_of
from core.models.device import Device
from core.models.gateway import Gateway
from core.models.user import User

PREFIX = "iot_"
"""Secret scanners look for it: see docs/tokens.md."""
SECRET_SIGNS = 43
"""Of 62 each: 256 bits."""
CHECKSUM_SIGNS = 6
LENGTH = len(PREFIX) + SECRET_SIGNS + CHECKSUM_SIGNS
SIGNS = digits + ascii_letters
PATTERN = re.compile(rf"\b{PREFIX}[0-9A-Za-z]{{{SECRET_SIGNS + CHECKSUM_SIGNS}}}\b")


def new_text() -> str:
    """Make the text of a token: prefix, 256 random bits, checksum."""
    secret = "".join(secrets.choice(SIGNS) for _ in range(SECRET_SIGNS))
    return PREFIX + secret + checksum(secret)


def checksum(secret: str) -> str:
    """Return the CRC-32 of a token's secret, in base 62.

    A text that is mistyped or invented is refused without asking the database, and a secret scanner
    takes no other text for a token. GitHub's tokens have the same.
    """
    number, signs = zlib.crc32(secret.encode()), ""
    for _ in range(CHECKSUM_SIGNS):
        number, sign = divmod(number, len(SIGNS))
        signs = SIGNS[sign] + signs
    return signs


def is_well_formed(text: str) -> bool:
    """Return whether the text may be a token. Needs no database."""
    if len(text) != LENGTH or not text.startswith(PREFIX) or not text.isascii():
        return False
    secret = text[len(PREFIX) : -CHECKSUM_SIGNS]
    return checksum(secret) == text[-CHECKSUM_SIGNS:]


def digest_of(text: str) -> str:
    """Return what is stored of a token. 256 random bits need no salt and no slow hash."""
    return sha256(text.encode()).hexdigest()


class TokenQuerySet(models.QuerySet["Token"]):
    def in_use(self, now: datetime) -> Self:
        """Those that are neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)

    def ended(self, now: datetime) -> Self:
        return self.filter(Q(expires_at__lte=now) | Q(revoked_at__isnull=False))

    def ended_before(self, time: datetime) -> Self:
        return self.filter(Q(expires_at__lt=time) | Q(revoked_at__lt=time))

    def valid(self, now: datetime) -> Self:
        """Those that log in: in use, and of people who may log in."""
        return self.in_use(now).filter(user__is_active=True)

    def of(self, user: User) -> Self:
        return self.filter(user=user)


class Token(models.Model):
    """What a program logs in with. It never may more than its person.

    Only a digest is stored. `replaced_by` is the token that a rotation made: until `expires_at`
    both log in.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120, help_text="Who or what uses it")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    ending = models.CharField(max_length=4, editable=False, help_text="Its last signs")
    rights = models.JSONField(default=list, help_text="read, control, ingest, admin")
    # Flags: a list that is empty once its last gateway is deleted must not mean all.
    all_gateways = models.BooleanField(default=True)
    gateways = models.ManyToManyField(Gateway, blank=True, related_name="+")
    all_devices = models.BooleanField(default=True)
    devices = models.ManyToManyField(Device, blank=True, related_name="+")
    plan = models.CharField(
        max_length=40, blank=True, help_text="How many requests a day, by API_PLANS; empty: any"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_on = models.DateField(null=True, editable=False, help_text="In UTC")
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, editable=False, related_name="replaces"
    )
    # A number, not a foreign key: it stays when the first one is pruned.
    lineage = models.BigIntegerField(
        null=True, editable=False, help_text="The first token, of which this came by rotations"
    )

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.name} ({PREFIX}...{self.ending})"

    @property
    def first(self) -> int:
        """The number of the first token of those that followed one another by rotation."""
        return self.lineage or self.pk

    def state(self, now: datetime) -> str:
        """Return "revoked", "expired", "rotated" (it still logs in for a while) or "valid"."""
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= now:
            return "expired"
        return "rotated" if self.replaced_by_id else "valid"

    @cached_property
    def access(self) -> Access:
        """What it allows, and its person with it. Up to four queries, once."""
        gateways = None
        if not self.all_gateways:
            gateways = frozenset(self.gateways.values_list("pk", flat=True))
        devices = None
        if not self.all_devices:
            devices = frozenset(self.devices.values_list("pk", flat=True))
        rights = frozenset(Right(right) for right in self.rights)
        return Access(rights, gateways, devices) & access_of(self.user)


LONGEST_OVERLAP = timedelta(days=30)
