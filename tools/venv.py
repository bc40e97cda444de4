"""Make .venv hold what a make target needs; does nothing when it does already.

    python3 tools/venv.py all|dev|integrations|bench [--newest]

What is for development comes in the versions of its lock file; with --newest, in the newest that
pyproject.toml allows. Needs only the standard library. Runs side by side wait for each other.
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
#: The lock of what an extra has for development. ``all`` is what users install, who have none.
LOCKS = {"dev": "dev", "integrations": "integrations", "bench": "dev"}


def main(extra: str, *, newest: bool = False) -> None:
    locks = {} if newest else {name: _lock(of) for name, of in LOCKS.items()}
    with (ROOT / "pyproject.toml").open("rb") as project:
        fcntl.flock(project, fcntl.LOCK_EX)
        locked = b"".join(path.read_bytes() for path in locks.values())
        wanted = hashlib.sha256(project.read() + locked).hexdigest()
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
        if extra in locks:
            hashed = ("--no-deps", "--require-hashes", "--requirement", str(locks[extra]))
            _run(*_PIP, *compiling, *hashed)
        upgrading = ("--upgrade", "--upgrade-strategy", "eager") if newest else ()
        _run(*_PIP, *compiling, *upgrading, "--editable", f"{ROOT}[{extra}]")
        _stamp(extra).write_text(wanted)


def _run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"failed, see above: {' '.join(command)}")


def _lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


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
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in INCLUDED_IN:
        sys.exit(__doc__)
    if {*sys.argv[2:]} - {"--newest"}:
        sys.exit(__doc__)
    main(sys.argv[1], newest="--newest" in sys.argv)
