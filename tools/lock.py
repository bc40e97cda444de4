"""Renew the lock files of requirements/, by the bounds of pyproject.toml.

    .venv/bin/python tools/lock.py [--upgrade]

Without --upgrade a version that is still allowed stays. Needs uv, and installs it into .venv.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
UV = Path(sys.executable).parent / "uv"
OLDEST = "3.11"
#: The extras of each lock. Whoever makes one takes the versions of the one before.
LOCKED = {"integrations": ("integrations", "bench"), "dev": ("dev",)}
#: What users may install that is tested with its lowest version of each package; the others follow
#: from what the tests need (``integrations``).
LOWEST = ("all", "fastapi")


def main(*options: str) -> None:
    if not UV.exists():
        print("Installing uv into .venv", flush=True)
        _run(sys.executable, "-m", "pip", "install", "-qq", "uv")
    before: list[str] = []
    for name, extras in LOCKED.items():
        _compile(name, extras, "--generate-hashes", "--universal", *before, *options)
        before += ["--constraints", f"requirements/{name}.txt"]
    _compile("lowest", LOWEST, "--resolution", "lowest-direct", "--upgrade")


def _compile(name: str, extras: tuple[str, ...], *options: str) -> None:
    print(f"requirements/{name}.txt", flush=True)
    wanted = (part for extra in extras for part in ("--extra", extra))
    _run(
        *(str(UV), "pip", "compile", "pyproject.toml", "--quiet", "--python-version", OLDEST),
        # Neither whose index it is nor where it was made is anybody's business.
        *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
        *("--custom-compile-command", "python tools/lock.py"),
        *("--output-file", f"requirements/{name}.txt"),
        *wanted,
        *options,
    )


def _run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"failed, see above: {' '.join(command)}")


if __name__ == "__main__":
    if {*sys.argv[1:]} - {"--upgrade"}:
        sys.exit(__doc__)
    main(*sys.argv[1:])
