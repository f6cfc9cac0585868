"""What makes it safe to send an order again: the key that a client gave it, and the answer."""

from django.db import models
from django.utils import timezone

from core.models.device_command import DeviceCommand

LONGEST_KEY = 255


class IdempotencyKey(models.Model):
    """The key of an `Idempotency-Key` header, stored in one transaction with what it ordered.

    Of a thousand requests with one key the database lets one through.
    """

    owner = models.CharField(max_length=60, help_text="Whose key it is: a token or a user")
    key = models.CharField(max_length=LONGEST_KEY)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked")
    command = models.ForeignKey(DeviceCommand, on_delete=models.CASCADE, related_name="+")
    answer = models.JSONField(null=True, help_text="The first answer; null until it was given")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["owner", "key"], name="one_use_of_a_key"),)

    def __str__(self) -> str:
        return f"{self.key} of {self.owner}"
