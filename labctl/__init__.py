"""labctl runs a self-driving materials laboratory from the terminal.

In a notebook: ``labctl.connect("my-lab").campaign("C-0001").to_pandas()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labctl.notebook import connect as connect

__all__ = ["connect"]


def __getattr__(name: str) -> Any:
    """Import what notebooks need only when it is asked for: the terminal never does."""
    if name == "connect":
        from labctl.notebook import connect

        return connect
    raise AttributeError(f"module 'labctl' has no attribute {name!r}")
