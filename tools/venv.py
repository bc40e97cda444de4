"""Make .venv hold what a make target needs; does nothing when it does already.

    python3 tools/venv.py all|dev|integrations|bench

Needs only the standard library. Runs side by side wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
_PIP = (str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
#: An extra's stamp stands for those that it includes.
INCLUDED_IN = {
    "all": ("all", "dev", "integrations", "bench"),
    "dev": ("dev", "integrations", "bench"),
    "integrations": ("integrations",),
    "bench": ("bench",),
}


def main(extra: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as project:
        fcntl.flock(project, fcntl.LOCK_EX)
        wanted = hashlib.sha256(project.read()).hexdigest()
        stamps = [_stamp(name) for name in INCLUDED_IN[extra]]
        usable = _is_usable()
        if usable and any(s.exists() and s.read_text() == wanted for s in stamps):
            return
        if not usable:
            print(f"Creating .venv with Python {sys.version.split()[0]}", flush=True)
            _run(sys.executable, "-m", "venv", "--clear", str(VENV))
            # One of two years ago takes twice as long; where no newer one is offered, it has to do.
            subprocess.run([*_PIP, "--upgrade", "pip"], check=False)
        print(f"Installing streamhub with its extra [{extra}] into .venv", flush=True)
        # Most of what tests need of others is never imported, so Python compiles what is.
        compiling = () if extra == "all" else ("--no-compile",)
        _run(*_PIP, *compiling, "--editable", f"{ROOT}[{extra}]")
        _stamp(extra).write_text(wanted)


def _run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"failed, see above: {' '.join(command)}")


def _stamp(extra: str) -> Path:
    return VENV / f".installed-{extra}"


def _is_usable() -> bool:
    """Whether .venv is there and whole: its Python may have been removed since."""
    try:
        check = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
        return not subprocess.run([PYTHON, "-c", check], check=False).returncode
    except OSError:
        return False


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in INCLUDED_IN:
        sys.exit(__doc__)
    main(sys.argv[1])
