"""A throw-away certificate authority and a server certificate for the loopback address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def write(cls, directory: Path) -> Self:
        """Make a new authority, and let it sign a certificate for 127.0.0.1 and localhost."""
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        made = cls(directory / "ca.pem", directory / "server.pem", directory / "server.key")
        authority.cert_pem.write_to_path(str(made.authority))
        server.cert_chain_pems[0].write_to_path(str(made.certificate))
        server.private_key_pem.write_to_path(str(made.key))
        return made
