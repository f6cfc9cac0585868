"""While vendors are waited for, the database connection is for others: a web process has four, and one person may order from
a dozen gateways that hang."""

from django.db import connection


def give_back() -> None:
    """It is taken again by the next query."""
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()
