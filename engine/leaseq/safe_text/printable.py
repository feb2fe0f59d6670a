"""Escape text from outside, so that it cannot control a terminal or forge a line.

Every output of a process (answers of commands, errors, log lines) passes one of these functions.
They escape each character that Python does not call printable: U+0000 to U+001F, U+007F to U+00A0,
controls of the writing direction, zero-width characters, line separators, private and unassigned
characters, and unpaired surrogates. The result fills one line.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text in one line, with unprintable characters as Python escapes: `\\x1b`, `\\n`,
    `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable_lines(text: str) -> list[str]:
    """The lines of a text that keeps its line ends (a traceback), each of them printable.

    The caller indents them, so that none can be mistaken for a separate log line.
    """
    return [printable(line) for line in text.split("\n")]


def printable_json(text: str) -> str:
    """A JSON text with the same value, whose strings contain only printable characters.

    Line ends stay: in valid JSON they stand between values, where the writer of the text put them.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else _escape_json(char) for char in text
    )


def ascii_json(text: str) -> str:
    """The same for a stream that accepts only ASCII."""
    return "".join(char if char.isascii() else _escape_json(char) for char in printable_json(text))


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _escape_json(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


__all__ = ["ascii_json", "printable", "printable_json", "printable_lines"]
