"""The model: a session in a few assignments, and a machine that compares it with the real thing."""

import pytest

# A failed assertion is to show its values in all of these.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("session", "stage", "producing", "reading"))
)
