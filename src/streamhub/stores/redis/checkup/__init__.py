"""Whether a Redis can carry streamhub's guarantees, and what it means where it cannot."""

from .feeds import judge_feeds
from .findings import Checkup, Finding, Level
from .probing import check_up

__all__ = ["Checkup", "Finding", "Level", "check_up", "judge_feeds"]
