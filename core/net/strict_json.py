"""JSON from outside, without what no database stores or no arithmetic survives."""

import codecs
import json
import math
import re
from typing import Any

DEEPEST = 50
"""Levels of lists within lists, or of objects within objects."""
LONGEST_INTEGER = 300
"""Digits. Any longer does not fit a float, and would overflow in the first division."""

# A surrogate pair is matched first, as one, so that only halves without the other half are left.
_PAIR = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"\\(?:{_PAIR}|u0000|u[dD][89a-fA-F][0-9a-fA-F]{{2}}|.)")
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(body: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises ValueError, whose message may quote the text.

    Refused: NaN and infinities however written, integers that no float can hold, anything deeper
    than DEEPEST. Replaced by U+FFFD: what no database stores, escaped NULs and halves of surrogate
    pairs, so that one odd name does not cost everything else.
    """
    text = body.removeprefix(codecs.BOM_UTF8).decode()
    if "\\u0000" in text or "\\ud" in text or "\\uD" in text:
        text = _ESCAPE.sub(_storable, text)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_too_deep(body) and _is_too_deep(_STRING.sub(b"", body)):
        raise ValueError("it is nested too deeply")
    return value


def _storable(escape: re.Match[str]) -> str:
    return "\\ufffd" if _UNSTORABLE.fullmatch(escape[0]) else escape[0]


def _is_too_deep(body: bytes) -> bool:
    """Say whether brackets are left when the innermost pairs have been taken away DEEPEST times.

    Brackets in strings count too.
    """
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"{digits[:20]}... is too large a number")
    return int(digits)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=_refuse)
