"""Give database connections back while they are not needed."""

from django.db import connection


def release_connection() -> None:
    """Give this thread's connection back to the pool, or close it. The next query takes one again.

    Call it before waiting for a vendor, and at the end of a job in a thread of our own: Django does
    it by itself only at the end of a request. Inside a transaction it does nothing.
    """
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()
