"""A place in the text of a notation: reads characters and numbers, and points at faults with a caret."""

from __future__ import annotations

import re

from striate.errors import NotationError

DIGITS = re.compile("[0-9]+")
WORD = re.compile(r"[^-()\[\]| ]*")
PASTED = str.maketrans({"×": "x", "–": "-", "−": "-"})  # what a paper's PDF gives for x and -
SHOWN_BEFORE, SHOWN_AFTER = 60, 40  # characters of the text around a fault


class Scanner:
    """Reads `text` from left to right; `at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self.shown = "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in text)
        self.text = self.shown.translate(PASTED)
        self.at = 0

    def skip_spaces(self) -> None:
        """Go to the next character that is not a space."""
        while self.text.startswith(" ", self.at):
            self.at += 1

    def peek(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def word(self) -> str:
        """All characters up to the next separator, without reading them."""
        return self.text[self.at : self._word_end()]

    def at_word_end(self) -> bool:
        """Whether a separator or the end comes next."""
        return self.at == self._word_end()

    def take(self, literal: str) -> bool:
        """Read `literal` if it comes next."""
        found = self.text.startswith(literal, self.at)
        self.at += len(literal) if found else 0
        return found

    def number(self, what: str, least: int, most: int) -> int:
        """Read a whole number from `least` to `most`.  Raises: NotationError."""
        start = self.at
        match = DIGITS.match(self.text, start)
        if match is None:
            raise self.fault(f"the {what} is missing", f"write a whole number from {least} to {most:,}")
        digits = match[0].lstrip("0") or "0"
        if len(digits) > len(str(most)) or not least <= int(digits) <= most:
            raise self.fault(f"{what} {_short(match[0])}", f"write a whole number from {least} to {most:,}")
        self.at = match.end()
        return int(digits)

    def fault(self, what: str, allowed: str, at: int | None = None) -> NotationError:
        """The error that says `what` is wrong and what is `allowed`, and shows the place under the text."""
        at = self.at if at is None else at
        start, stop = max(0, at - SHOWN_BEFORE), at + SHOWN_AFTER
        before = ("..." if start else "") + self.shown[start:at]
        after = self.shown[at:stop] + ("..." if stop < len(self.shown) else "")
        message = f"notation: {what} at character {at + 1}; {allowed}"
        return NotationError(f"{message}\n  {before}{after}\n  {' ' * len(before)}^")

    def _word_end(self) -> int:
        match = WORD.match(self.text, self.at)
        return match.end() if match else self.at


def quoted(word: str) -> str:
    """`word` in quotes, cut where it is long."""
    return f"'{_short(word)}'"


def _short(word: str) -> str:
    return word if len(word) <= 24 else word[:21] + "..."
