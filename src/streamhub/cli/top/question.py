"""A question before something is done that cannot be undone."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["Question"]


class Question(ModalScreen[bool]):
    """Yes or no; what is typed by mistake means no."""

    DEFAULT_CSS: ClassVar[str] = """
    Question { align: center middle; }
    Question Vertical { width: 64; max-width: 90%; height: auto; border: round ansi_yellow;
                        padding: 0 1; }
    Question Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("n,escape,q", "answer(False)"),
    ]

    def __init__(self, question: str, does: str) -> None:
        super().__init__()
        self._text = Text.assemble(
            (question, "bold"), "\n\n", ("y", "bold"), f" {does}    ", ("n", "bold"), " do nothing"
        )

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._text)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
