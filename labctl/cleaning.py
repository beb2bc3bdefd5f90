"""Text from files, machines and people, before it is shown."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    """Text without anything that moves a cursor: data must not steer the terminal."""
    return "".join(
        " " if c in "\t\n\r" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )
