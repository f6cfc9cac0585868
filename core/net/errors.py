"""The two errors from the network, and the one kind of which nobody answered.

They are apart from `core.net.http`, which loads requests: a poll in which no gateway is due never
loads it.
"""


class ApiError(Exception):
    """The vendor did not answer, or answered that it cannot now: try again later.

    `status` is the HTTP status if there was one; `retry_after` the seconds that the vendor asked us
    to wait, a day at most.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Unreachable(ApiError):
    """Nobody answered: no connection, or none that lasted for an answer."""


class ApiRefused(Exception):
    """The vendor, or our own rules, said no: a person must act.

    `status` is the HTTP status if there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
