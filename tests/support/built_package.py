"""The package as it is built and installed, without the source beside it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

__all__ = ["ROOT", "build", "wheel_environment"]

ROOT = Path(__file__).parents[2]


def build(directory: Path, *, what: str = "wheel") -> Path:
    """A ``wheel`` or an ``sdist`` of the source as it stands."""
    asked = (f"--{what}", "--no-isolation", "--outdir", str(directory), str(ROOT))
    done = subprocess.run(
        [sys.executable, "-m", "build", *asked],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert 0 == done.returncode, done.stdout
    (built,) = directory.glob("*.whl" if what == "wheel" else "*.tar.gz")
    return built


def wheel_environment(wheel: Path, directory: Path) -> Path:
    """The Python of a virtual environment with ``wheel``, and with all that is installed here but
    the source."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    # A path file of a path file's folder is not read: the source is not found through this one.
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return directory / "bin" / "python"
