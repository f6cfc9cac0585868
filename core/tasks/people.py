"""Those who are there: their roles, and who is let in no more."""

from collections.abc import Sequence

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from core.models import Gateway, Membership, Role, User
from core.tasks import tokens


def set_role(user: User, role: Role, gateways: Sequence[Gateway] | None) -> None:
    """Give a person a role, for all gateways (None) or for these."""
    with transaction.atomic():
        membership, _ = Membership.objects.update_or_create(
            user=user, defaults={"role": role, "everywhere": gateways is None}
        )
        membership.gateways.set(gateways or ())


def let_in(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=True)


def remove(user: User) -> None:
    """Let somebody in no more: the account is closed, and its tokens and log-ins end, also for the
    case that it is opened again. Its name stays in the history of what it ordered."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=False)
        tokens.revoke_all(user)
        _end_log_ins(user)


def _end_log_ins(user: User) -> None:
    """Read every session that is not over, for whose it is stands in its text alone."""
    sessions = Session.objects.filter(expire_date__gt=timezone.now()).iterator(chunk_size=500)
    ended = [one.pk for one in sessions if one.get_decoded().get(SESSION_KEY) == str(user.pk)]
    Session.objects.filter(pk__in=ended).delete()
