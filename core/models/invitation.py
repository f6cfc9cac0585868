"""Invitations: who was invited, and whether the mail went out."""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models.user import User

CLAIM = timedelta(seconds=70)
"""How long an invitation is one process's alone. A mail server that is away is given up sooner."""
PUT_OFF = timedelta(minutes=5)
"""Before a mail is tried again that the server put off. Most that do so take it then."""


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def waiting(self) -> Self:
        """Those to be sent, also by other processes at this moment. Not to closed accounts."""
        is_new = Q(error="", retry_at=None)
        return self.filter(
            is_new | _is_over("retry_at", PUT_OFF), sent_at=None, user__is_active=True
        )

    def free(self) -> Self:
        """Those to be sent that no process has claimed."""
        return self.waiting().filter(Q(claimed_until=None) | _is_over("claimed_until", CLAIM))


def _is_over(field: str, longest: timedelta) -> Q:
    # One that ends later than any can is void: the database's clock ran ahead.
    return Q(**{f"{field}__lte": Now()}) | Q(**{f"{field}__gt": Now() + longest})


class Invitation(models.Model):
    """A mail to somebody new. The account is there already; the link in the mail opens it once."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="invitation")
    invited_by = models.CharField(max_length=150, blank=True)
    invited_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True, help_text="Why the mail was not taken")
    retry_at = models.DateTimeField(
        null=True, help_text="The mail server put it off. Without it, an error is for good"
    )
    claimed_until = models.DateTimeField(null=True, help_text="Somebody is sending it now")

    objects = InvitationQuerySet.as_manager()

    class Meta:
        indexes = (
            # Those that wait to be sent.
            models.Index(
                fields=["id"], name="invitation_waiting", condition=models.Q(sent_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.user.email}: {'sent' if self.sent_at else self.error or 'waiting'}"
