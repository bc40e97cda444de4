"""Build the package, and install its wheel and what its tests need into build/wheel.

    .venv/bin/python tools/wheel.py

The source is not there: tests that build/wheel/bin/python runs meet the wheel alone. Leaves what
it has built in build/wheel/dist.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "wheel"
PYTHON = VENV / "bin" / "python"
DIST = VENV / "dist"


def main() -> None:
    print("Building the package", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    # The wheel is built from the source distribution, so that this has to be whole.
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    (wheel,) = DIST.glob("*.whl")
    print("Installing its wheel into build/wheel", flush=True)
    _run(sys.executable, "-m", "venv", str(VENV))
    pip = (str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    _run(*pip, "--upgrade", "pip")
    lock = str(ROOT / "requirements" / "dev.txt")
    _run(*pip, "--no-compile", "--no-deps", "--require-hashes", "--requirement", lock)
    _run(*pip, f"streamhub-llm[dev] @ {wheel.as_uri()}")
    _run(str(PYTHON), "-c", _CHECK, str(VENV), cwd=ROOT)


_CHECK = """
import sys, streamhub
sys.exit(None if streamhub.__file__.startswith(sys.argv[1]) else f"{streamhub.__file__} is found")
"""


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, check=False, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}failed, see above: {' '.join(command)}")


if __name__ == "__main__":
    main()
