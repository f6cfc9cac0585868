"""A text column that is encrypted at rest and decrypted only when somebody reads it."""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import FieldError
from django.db import models

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class SecretUnreadable(Exception):
    """Says that a stored credential cannot be decrypted."""

    def __init__(self) -> None:
        super().__init__(
            "The stored credential cannot be decrypted: SECRET_KEY or FIELD_KEYS changed. "
            "Enter the credential again."
        )


@lru_cache(maxsize=8)
def _fernet(field_keys: tuple[str, ...], secret_keys: tuple[str, ...]) -> "MultiFernet":
    """Encrypt with the first key, decrypt with any.

    Those from SECRET_KEY stay, for rows from before FIELD_KEYS.
    """
    from cryptography.fernet import Fernet, MultiFernet
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derived(key: str) -> Fernet:
        # `info` never changes: with another one, what is stored could not be decrypted.
        hkdf = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"iotapp stored credentials"
        )
        return Fernet(base64.urlsafe_b64encode(hkdf.derive(key.encode())))

    return MultiFernet([derived(key) for key in (*field_keys, *secret_keys)])


def _current_fernet() -> "MultiFernet":
    return _fernet(
        tuple(settings.FIELD_KEYS), (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    )


class Secret:
    """A secret as it is stored. Only `reveal()` shows it."""

    def __init__(self, token: str = "") -> None:
        self.token = token

    @classmethod
    def seal(cls, plain: str) -> "Secret":
        return cls(_current_fernet().encrypt(plain.encode()).decode() if plain else "")

    def reveal(self) -> str:
        """The plain text. Raises SecretUnreadable."""
        if not self.token:
            return ""
        from cryptography.fernet import InvalidToken

        try:
            return _current_fernet().decrypt(self.token.encode()).decode()
        except InvalidToken:
            raise SecretUnreadable from None

    def __bool__(self) -> bool:
        return bool(self.token)

    def __eq__(self, other: object) -> bool:
        # Sealed twice, one text has two tokens: this asks whether the column has changed.
        return isinstance(other, Secret) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return "<a secret>" if self.token else "<no secret>"


class SecretField(models.TextField):  # type: ignore[type-arg]  # generic only in the stubs
    """Holds a Secret. Assign `Secret.seal(plain)`, or plain text, which is sealed when saved.

    What could not be decrypted is written back as it was: the token travels, not the text.
    """

    description = "A secret, encrypted at rest"

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"blank": True, "default": Secret, "editable": False, **options})

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        for implied in ("blank", "default", "editable"):
            options.pop(implied, None)
        return name, path, args, options

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Secret:
        return Secret(value or "")

    def to_python(self, value: Any) -> Secret:
        return value if isinstance(value, Secret) else Secret.seal(str(value or ""))

    def get_prep_value(self, value: Any) -> str:
        return self.to_python(value).token

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError("A secret cannot be searched for.")
        return super().get_lookup(lookup_name)

    def value_to_string(self, obj: models.Model) -> str:
        """Nothing: dumpdata and serializers never carry a secret."""
        return ""
