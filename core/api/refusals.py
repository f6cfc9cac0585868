"""Errors that the API's own views raise, each with its status. See problems.py."""

from rest_framework.exceptions import APIException, ValidationError


class Unprocessable(APIException):
    """What was asked is understood, and cannot be done."""

    status_code = 422


class Conflict(APIException):
    """Another request is in the way now."""

    status_code = 409


class InProgress(Conflict):
    """The same request is being answered. To be sent again after `wait` seconds."""

    wait = 1


class ChangedMeanwhile(APIException):
    """Somebody else changed it since it was read."""

    status_code = 412


class MustSayWhatWasSeen(APIException):
    """A change states the version that it is a change of."""

    status_code = 428


class Gone(APIException):
    """It was here, and is not kept any more."""

    status_code = 410


class Full(APIException):
    """There is no place for one more. To be sent again after `wait` seconds."""

    status_code = 503
    wait = 5


class Unfit(ValidationError):
    """What was sent has the form that is described, and some of it is no right value."""

    status_code = 422
