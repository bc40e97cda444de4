"""The chat page, bundled with the AI SDK, React and esbuild that are in ``node_modules``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["PACKAGES", "bundle"]

FOLDER = Path(__file__).parent
#: The majors of the AI SDK, and what each one's React package is called in ``package.json``.
PACKAGES = {"ai 7": "@ai-sdk/react", "ai 6": "ai-sdk-react-3"}

_PAGE = """<!doctype html>
<title>chat</title>
<div id="root"></div>
<script src="/chat.js"></script>
"""


def bundle(package: str, directory: Path, source: str = "chat.jsx") -> Path:
    """Write the page with that React package to ``directory``: ``index.html`` and ``chat.js``."""
    esbuild = FOLDER / "node_modules" / "esbuild" / "bin" / "esbuild"
    if not esbuild.exists():
        raise RuntimeError("tests/browser/node_modules is missing; `make test` installs it")
    subprocess.run(
        [
            Path(sys.executable).with_name("node"),
            esbuild,
            source,
            "--bundle",
            "--jsx=automatic",
            '--define:process.env.NODE_ENV="production"',
            f"--alias:@ai-sdk/react={package}",
            "--log-level=warning",
            f"--outfile={directory / 'chat.js'}",
        ],
        cwd=FOLDER,
        check=True,
    )
    (directory / "index.html").write_text(_PAGE)
    return directory
