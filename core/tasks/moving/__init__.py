"""A site in one file: a zip of tables, in which only the credentials are encrypted.

    seal            format, salt, and an HMAC of the manifest with a key made from the passphrase
    manifest.json   the newest migration; columns, rows, bytes and SHA-256 of each table; the last
                    numbers given out
    core.Device     a row a line: a JSON array of the columns

The seal says that the passphrase is right and that nobody changed the manifest, and the manifest
says the same of each table. All of it is checked before anything is stored.

It is stored in steps. A row of SiteImport says how far, and nothing else is done here before all of
it is stored.
"""

from collections.abc import Callable

FORMAT = 1
ROWS_A_STEP = 1_000
LONGEST_LINE = 32_000_000

Progress = Callable[[int, int], None]


class NotMoved(Exception):
    """Says why there is no file, or why not all of one is stored."""
