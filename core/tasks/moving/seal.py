"""What the passphrase is for: to encrypt credentials, and to know that a file is unchanged."""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.tasks.moving import FORMAT, NotMoved

SHORTEST_PASSPHRASE = 12
SCRYPT_N = 2**16
"""With r=8 and p=2 as OWASP's Password Storage Cheat Sheet has it; 64 MB. Never read from the file,
which could ask for any amount of memory."""
WRITTEN = re.compile(rb"iotapp-site (\d{1,9}) ([0-9a-f]{32}) ([0-9a-f]{64})\n")
LONGEST = 200


class Seal:
    """The two keys made from a passphrase and a salt."""

    def __init__(self, passphrase: str, salt: bytes = b"") -> None:
        self.salt = salt or secrets.token_bytes(16)
        # Both keys at once: the derivation is slow on purpose.
        keys = Scrypt(salt=self.salt, length=64, n=SCRYPT_N, r=8, p=2).derive(passphrase.encode())
        self._fernet = Fernet(urlsafe_b64encode(keys[:32]))
        self._signing = keys[32:]

    def encrypt(self, plain: str) -> str:
        return self._fernet.encrypt(plain.encode()).decode()

    def decrypt(self, token: str) -> str:
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise NotMoved("A credential in the file is damaged.") from None

    def written(self, manifest: bytes) -> bytes:
        """Return what is stored beside this manifest."""
        return f"iotapp-site {FORMAT} {self.salt.hex()} {self._mac(manifest)}\n".encode()

    def _mac(self, manifest: bytes) -> str:
        return hmac.new(self._signing, manifest, sha256).hexdigest()

    @classmethod
    def opened(cls, written: bytes, passphrase: str, manifest: bytes) -> "Seal":
        """Return the seal of a file. Raises NotMoved if it is not of this passphrase."""
        found = WRITTEN.fullmatch(written)
        if found is None:
            raise NotMoved("This is no file that export_site made, or it is damaged.")
        if int(found[1]) != FORMAT:
            raise NotMoved(
                f"The file has format {int(found[1])}, and this version reads format {FORMAT}: "
                "use the same version of the app here and there."
            )
        seal = cls(passphrase, bytes.fromhex(found[2].decode()))
        if not hmac.compare_digest(seal._mac(manifest), found[3].decode()):
            raise NotMoved("The passphrase is wrong, or the file was changed.")
        return seal


def check_new_passphrase(passphrase: str) -> None:
    """Raise NotMoved if it is too short for a file that may get into other hands."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise NotMoved(
            f"The passphrase has fewer than {SHORTEST_PASSPHRASE} characters: it protects the "
            "credentials of all gateways."
        )
