"""A field of text in which everything can be printed."""

from typing import Any

from django import forms

from core.readings import printable


class TextField(forms.CharField):
    """Replaces what cannot be printed, so that no text clears a terminal or forges a line."""

    def to_python(self, value: Any) -> str | None:
        text = super().to_python(value)
        return printable(text) if text else text
