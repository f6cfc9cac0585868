"""Those who are there: their roles, and who is let in no more."""

from collections.abc import Sequence

from django.db import transaction

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
    """Let somebody in no more: the account is closed and its tokens end. Its name stays in the
    history of what it ordered."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=False)
        tokens.revoke_all(user)
