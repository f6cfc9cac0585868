"""The options of a rule as text, NAME=VALUE, with their defaults."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from core import rules


def table(rule: str) -> str:
    """List the options of a rule, one a line: its default, what it means, unit, choices.

    "" if it has none.
    """
    lines = []
    for option in fields(rules.load(rule).options):
        default = f"{option.name}={_as_typed(option.default)}"
        lines.append(f"  {default:<26}  {_meaning(option.metadata)}".rstrip())
    return "\n".join(lines)


def all_of(rule: str, stored: Mapping[str, object]) -> str:
    """Write all options of a rule as NAME=VALUE: the stored ones, and the defaults of the others.

    Those that are empty are left out. Raises ValueError as `Rule.read()` does.
    """
    options = rules.load(rule).read(stored)
    values = {option.name: getattr(options, option.name) for option in fields(options)}
    return " ".join(f"{name}={_as_typed(value)}" for name, value in values.items() if value != "")


def _as_typed(value: object) -> str:
    """Write a value as a person would type it in a shell."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return f"'{text}'" if " " in text else text


def _meaning(metadata: Mapping[str, Any]) -> str:
    text: str = metadata.get("help", "")
    if unit := metadata.get("unit"):
        text += f" ({unit})"
    if choices := metadata.get("choices"):
        text += f": {', '.join(choices)}"
    return text
