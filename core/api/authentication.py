"""Who asks: a person with a session, or a token."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from core.models import Token, User
from core.tasks import tokens

REALM = 'Bearer realm="api"'


class Session(SessionAuthentication):
    """The log-in of a page. What changes anything needs the CSRF token too."""

    def authenticate_header(self, request: Request) -> str:
        # Without it a missing log-in would be answered 403, not 401.
        return REALM


class Bearer(BaseAuthentication):
    """A token, in the header that RFC 6750 names: Authorization: Bearer iot_..."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        """Return the token's person and the token; None without such a header.

        Raises AuthenticationFailed, in the same words whatever is wrong with the token.
        """
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = tokens.find(text.strip())
        if token is None:
            raise AuthenticationFailed("The token is not valid: wrong, expired or revoked.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM
