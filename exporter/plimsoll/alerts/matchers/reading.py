"""Reads matchers as PromQL writes them, and says what is wrong at which position."""

from __future__ import annotations

import re

from plimsoll.alerts.matchers.matcher import (
    INVERSES,
    OPERATORS,
    Matcher,
    Operator,
    problem_of_label,
    problem_of_value,
)

_BLANKS = re.compile(r"(?:[ \t\n\r]|#[^\n\r]*)*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:.]*")
_SIGNS = re.compile(r"[=!~<>]+")
_BARE_LABEL = re.compile(r"""[^=!~<>,{}"'`\s]*""")
_BARE = re.compile(r"""[^,{}"'` \t\n\r]+""")
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\'"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"""
)
_ESCAPES = r"\\ \a \b \f \n \r \t \v \xHH \NNN \uHHHH \UHHHHHHHH"
_ONE_LETTER = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def read_matchers(text: str) -> list[Matcher]:
    """Read all of a text.

    Raises:
        ValueError: it is no list of matchers; the message says where, counting from 1.
    """
    return _Reader(text).matchers()


class _Reader:
    """Reads a text of matchers from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def matchers(self) -> list[Matcher]:
        """Read all of the text."""
        self._skip_blanks()
        braces = self._opening()
        found = []
        while self._rest()[:1] != ("}" if braces else ""):
            found.append(self._matcher())
            self._separator(braces)
        if braces:
            self._closing()
        return found

    def _opening(self) -> bool:
        """Pass the opening brace, or say that there is none."""
        if not self._rest():
            raise ValueError("must not be empty; {} fits everything")
        if self._passes("{"):
            return True
        if (name := _METRIC.match(self._text, self._at)) and not self._operator_follows(name.end()):
            raise self._problem(f"only matchers in braces are allowed, no metric name ({name[0]})")
        return False

    def _operator_follows(self, at: int) -> bool:
        blanks = _BLANKS.match(self._text, at)
        return bool(blanks and _SIGNS.match(self._text, blanks.end()))

    def _matcher(self) -> Matcher:
        label = self._label()
        operator = self._operator(label)
        start = self._at
        value = self._value(label, operator)
        if problem := problem_of_value(operator, value):
            raise self._problem(problem, start)
        return Matcher(label, operator, value)

    def _label(self) -> str:
        if self._rest()[:1] in tuple("\"'`"):
            raise self._problem("label names stand without quotes")
        name = _BARE_LABEL.match(self._text, self._at)
        text = name[0] if name else ""
        if not text:
            raise self._problem(f"a label name is missing, found {self._found()}")
        if problem := problem_of_label(text):
            raise self._problem(problem)
        self._go_to(self._at + len(text))
        return text

    def _operator(self, label: str) -> Operator:
        signs = _SIGNS.match(self._text, self._at)
        if not signs:
            raise self._problem(f"an operator is missing after {label}, found {self._found()}; {OPERATORS}")
        for operator in INVERSES:
            if signs[0] == operator:
                self._go_to(signs.end())
                return operator
        raise self._problem(f"unknown operator {signs[0]}; {OPERATORS}")

    def _value(self, label: str, operator: str) -> str:
        quote = self._rest()[:1]
        if quote == "`":
            return self._raw_string()
        if quote and quote in "\"'":
            return self._string(quote)
        bare = _BARE.match(self._text, self._at)
        hint = f": {label}{operator}{_quoted(bare[0])}" if bare else f", found {self._found()}"
        raise self._problem(f"the value of {label} must stand in quotes{hint}")

    def _raw_string(self) -> str:
        end = self._text.find("`", self._at + 1)
        if end < 0:
            raise self._problem("the string that begins here lacks its closing `")
        value = self._text[self._at + 1 : end]
        self._go_to(end + 1)
        return value

    def _string(self, quote: str) -> str:
        start = at = self._at
        value = bytearray()
        at += 1
        while (character := self._text[at : at + 1]) != quote:
            if character in ("", "\n"):
                hint = "; a newline in it is written \\n" if character else ""
                raise self._problem(f"the string that begins here lacks its closing {quote}{hint}", start)
            piece, at = self._escape(quote, at) if character == "\\" else (_bytes(character), at + 1)
            value += piece
        self._go_to(at + 1)
        return self._decoded(value, start)

    def _escape(self, quote: str, at: int) -> tuple[bytes, int]:
        """Read the escape at `at`: give what it means, and where it ends."""
        found = _ESCAPE.match(self._text, at)
        if not found or found[1] == {'"': "'", "'": '"'}[quote]:
            raise self._problem(
                f"unknown escape {self._text[at : at + 2]}; allowed: \\{quote} {_ESCAPES}", at
            )
        letter, byte, octal, short, long = found.groups()
        if letter:
            return _ONE_LETTER.get(letter, letter).encode(), found.end()
        number = int(octal, 8) if octal else int(byte or short or long, 16)
        most = 0x10FFFF if short or long else 0xFF
        if number > most or 0xD800 <= number < 0xE000:
            raise self._problem(f"the escape {found[0]} is no character", at)
        return (chr(number).encode() if short or long else bytes([number])), found.end()

    def _decoded(self, value: bytearray, start: int) -> str:
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise self._problem("the bytes of the string that begins here are no UTF-8 text", start) from None

    def _separator(self, braces: bool) -> None:
        """Pass the comma behind a matcher, which may be left out behind the last."""
        end = "}" if braces else ""
        if self._passes(",") or self._rest()[:1] == end:
            return
        if not self._rest():
            raise self._problem("the closing } is missing")
        wanted = "a comma or } is" if braces else "a comma is"
        raise self._problem(f"{wanted} missing, found {self._found()}")

    def _closing(self) -> None:
        self._passes("}")
        if self._rest():
            raise self._problem(f"nothing may follow the closing }}, found {self._rest()!r}")

    def _passes(self, sign: str) -> bool:
        """Pass a sign and blanks behind it, if it comes next."""
        if not self._rest().startswith(sign):
            return False
        self._go_to(self._at + 1)
        return True

    def _go_to(self, at: int) -> None:
        self._at = at
        self._skip_blanks()

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at

    def _rest(self) -> str:
        return self._text[self._at :]

    def _found(self) -> str:
        return repr(self._rest()[0]) if self._rest() else "the end"

    def _problem(self, message: str, at: int | None = None) -> ValueError:
        return ValueError(f"position {(self._at if at is None else at) + 1}: {message}")


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\") + '"'
