"""The IDs of signed messages, so that nobody sends one again."""

from django.db import models
from django.utils import timezone

from core.models.gateway import Gateway

LONGEST_ID = 255


class SignedMessage(models.Model):
    """A message that was taken. Kept until its timestamp is too old to be taken anyway."""

    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="+", db_index=False)
    message_id = models.CharField(max_length=LONGEST_ID)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            # Also the index for: those of one gateway.
            models.UniqueConstraint(fields=["gateway", "message_id"], name="one_use_of_a_message"),
        )

    def __str__(self) -> str:
        return f"{self.message_id} to {self.gateway_id}"
