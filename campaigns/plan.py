"""A campaign file as the loop uses it: domain objects instead of text."""

from __future__ import annotations
