"""All sessions as somebody on call sees them, for the inspector and ``streamhub top``."""

from .board import Board, Look
from .query import Page, Query, Sort
from .row import DAMAGED, Row

__all__ = ["DAMAGED", "Board", "Look", "Page", "Query", "Row", "Sort"]
