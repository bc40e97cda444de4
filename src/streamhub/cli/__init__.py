"""The command line: ``streamhub``, or ``python -m streamhub``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale cannot write must not turn an answer into a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        import rich  # noqa: F401 - only asks whether the extra is there
        import typer  # noqa: F401 - likewise
    except ModuleNotFoundError as missing:
        print(
            f'the streamhub command needs {missing.name}: pip install "streamhub-llm[cli]"',
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        from .app import app

        app(prog_name="streamhub")
    except KeyboardInterrupt:
        sys.exit(130)
