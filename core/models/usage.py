"""What programs used: requests by token, day and address of the API."""

from django.db import models

from core.models.token import Token

LONGEST_ROUTE = 100


class Usage(models.Model):
    """How many requests a token made on a day (in UTC), by method and address without numbers."""

    token = models.ForeignKey(Token, on_delete=models.CASCADE, related_name="usage")
    day = models.DateField()
    route = models.CharField(max_length=LONGEST_ROUTE)
    requests = models.PositiveBigIntegerField()

    class Meta:
        constraints = (
            # Also the index for the sums of a token's day and of a month.
            models.UniqueConstraint(fields=["day", "token", "route"], name="one_row_of_usage"),
        )

    def __str__(self) -> str:
        return f"{self.token}, {self.day}: {self.requests} x {self.route}"
