"""The Python of the pages in docs, for tests that run it as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["names_of"]

_DOCS = Path(__file__).parents[2] / "docs"


def names_of(page: str) -> dict[str, Any]:
    """What the page's Python defines, on a hub in memory."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", (_DOCS / page).read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("redis://localhost:6379/0", "memory://")
    exec(compile(code, page, "exec"), names)
    return names
