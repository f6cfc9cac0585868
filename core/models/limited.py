"""How far those see who do not see everything."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Model, Q

from core.models.access import Access, Membership, Right
from core.models.token import Token

READ = frozenset({Right.READ})


def limited_accesses(now: datetime) -> list[Access]:
    """Return what each person and each token that is limited sees, in four queries.

    A token sees nothing beyond its person: each is there by itself.
    """
    people = Membership.objects.filter(everywhere=False, user__is_active=True)
    rows = people.filter(user__is_superuser=False).values_list("pk", "gateways")
    found = [Access(READ, pks) for pks in _grouped(rows).values()]
    limited = Q(all_gateways=False) | Q(all_devices=False)
    tokens = list(Token.objects.valid(now).filter(limited))
    gateways = _grouped(_named(Token.gateways.through, tokens, "gateway_id"))
    devices = _grouped(_named(Token.devices.through, tokens, "device_id"))
    nothing: frozenset[int] = frozenset()
    for token in tokens:
        found.append(
            Access(
                READ,
                None if token.all_gateways else gateways.get(token.pk, nothing),
                None if token.all_devices else devices.get(token.pk, nothing),
            )
        )
    return found


def _named(through: type[Model], tokens: list[Token], column: str) -> Iterable[tuple[int, int]]:
    rows = through._base_manager.filter(token__in=tokens)
    return rows.values_list("token_id", column)


def _grouped(rows: Iterable[tuple[int, int | None]]) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for owner, pk in rows:
        found.setdefault(owner, set()).update([pk] if pk else [])
    return {owner: frozenset(pks) for owner, pks in found.items()}
