"""Whether a Redis can carry streamhub's guarantees, and what it means where it cannot."""

from .asking import check_up
from .findings import Checkup, Finding, Level

__all__ = ["Checkup", "Finding", "Level", "check_up"]
