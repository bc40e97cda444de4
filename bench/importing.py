"""What an import costs a process, beyond an empty interpreter that is up."""

from __future__ import annotations

import asyncio
import sys

from .workers import Figures

__all__ = ["importing"]

_PROGRAM = """\
from time import perf_counter
begun = perf_counter()
import {names}
print(1000 * (perf_counter() - begun))
"""


async def importing(names: str, *, times: int) -> Figures:
    """Milliseconds of the quickest of so many processes: what else a machine does only adds."""
    return {"ms": min([await _once(names) for _ in range(times)])}


async def _once(names: str) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", _PROGRAM.format(names=names)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, f"import {names} failed"
    return float(out)
