"""How far import_site has come, and that nothing is done with half a site."""

from dataclasses import dataclass

from django.db import models
from django.db.models import F, Q

from core.models.gateway import Gateway
from core.models.user import User

THE_ONLY = 1


class HalfASite(Exception):
    """Says that only a part of another site is stored here, and what to do about it."""


class SiteImport(models.Model):
    """The one row there is while a part of a file of export_site is stored, but not all of it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONLY, editable=False)
    rows = models.BigIntegerField(help_text="So many, the first of the file, are stored")
    of_rows = models.BigIntegerField()
    mark = models.CharField(max_length=64, help_text="SHA-256 of which file, and of those rows")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(id=THE_ONLY), name="one_site_import"),
            models.CheckConstraint(
                condition=Q(rows__gte=0, rows__lte=F("of_rows")), name="site_import_in_range"
            ),
        )

    def __str__(self) -> str:
        return f"{self.rows:,} of {self.of_rows:,} rows"

    @classmethod
    def refusal(cls) -> str:
        """Say why nothing may be done here yet; "" if no import is under way."""
        begun = cls.objects.first()
        if begun is None:
            return ""
        return (
            f"A part of a site is stored here: import_site has stored {begun}. "
            "If it does not run any more, run it again with the same file."
        )


@dataclass
class Whole:
    """Asks whether the site is whole, until it is: an import needs a database without anything."""

    is_known: bool = False

    def refusal(self) -> str:
        """Say why nothing is served yet; "" if all of the site is here."""
        if self.is_known:
            return ""
        # Before the other query: in between an import might begin.
        is_used = User.objects.exists() or Gateway.objects.exists()
        refusal = SiteImport.refusal()
        self.is_known = is_used and not refusal
        return refusal


whole = Whole()
"""What this process knows."""
