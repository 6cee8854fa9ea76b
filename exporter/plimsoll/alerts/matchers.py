"""PromQL's matchers, such as `{datname="billing"}`: read, shown, and compared with each other.

Two things are asked about lists of matchers: can a series fit both, and does one fit whatever the other
fits? Both answers are yes or "not certain", and a yes holds for Prometheus 2, where `.` in a regular
expression matches no newline, for Prometheus 3, where it does, and for Alertmanager, where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, Literal, TypeAlias, get_args

import re2

Operator: TypeAlias = Literal["=", "!=", "=~", "!~"]

_INVERSES: Mapping[Operator, Operator] = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
_OPERATORS = f"allowed: {', '.join(get_args(Operator))}"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NAME_RULE = "letters, digits and _ are allowed, no digit first"

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd]")
"""Characters that are shown escaped: nobody could see them, and PromQL refuses a newline and U+FFFD."""


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One condition on one label. An absent label and an empty one are the same.

    Raises:
        ValueError: the label's name or the regular expression is bad.
    """

    label: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if problem := _problem_of_label(self.label) or _problem_of_value(self.operator, self.value):
            raise ValueError(problem)

    def matches(self, value: str) -> bool:
        """Say whether a label's value fits, as Prometheus 3 reads regular expressions."""
        return self._matches(value, dot_is_newline=True)

    def surely(self, value: str) -> bool | None:
        """Say whether a value fits, or None where versions of Prometheus disagree."""
        answer = self._matches(value, dot_is_newline=True)
        if "\n" in value and answer != self._matches(value, dot_is_newline=False):
            return None
        return answer

    def _matches(self, value: str, *, dot_is_newline: bool) -> bool:
        negated = self.operator[0] == "!"
        if self.operator[-1] != "~":
            return (value == self.value) != negated
        found = _compiled(self.value, dot_is_newline).fullmatch(value.encode())
        return (found is not None) != negated

    @property
    def inverse(self) -> Matcher:
        """The matcher that fits exactly what this one does not."""
        return Matcher(self.label, _INVERSES[self.operator], self.value)

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{_UNSEEN.sub(_escaped, value)}"'

    def for_alertmanager(self) -> str:
        """Write it for Alertmanager, which knows three escapes only."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{value}"'


@dataclass(frozen=True)
class Matchers:
    """Conditions that must all hold. None at all fit everything."""

    matchers: tuple[Matcher, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Matchers:
        """Read matchers as they stand behind a metric in PromQL; the braces may be left out.

        Raises:
            ValueError: the text is no list of matchers; the message says where, counting from 1.
        """
        return cls(tuple(_Reader(text).matchers()))

    def __iter__(self) -> Iterator[Matcher]:
        return iter(self.matchers)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels fit."""
        return all(matcher.matches(labels.get(matcher.label, "")) for matcher in self.matchers)

    def __str__(self) -> str:
        return f"{{{','.join(map(str, self.matchers))}}}" if self.matchers else ""

    def for_alertmanager(self) -> list[str]:
        """Give the matchers of a route of Alertmanager. There, as in Prometheus 2, `.` is no newline."""
        return [matcher.for_alertmanager() for matcher in self.matchers]

    @cached_property
    def is_impossible(self) -> bool:
        """Whether certainly nothing fits. False means that something may."""
        return any(values.empty for values in self._values.values())

    def excludes(self, other: Matchers) -> bool:
        """Say whether certainly nothing fits both. False means that something may."""
        theirs = other._values
        return (
            any(label in theirs and mine.excludes(theirs[label]) for label, mine in self._values.items())
            or self.is_impossible
            or other.is_impossible
        )

    def covers(self, other: Matchers) -> bool:
        """Say whether certainly whatever fits `other` fits this, too. False means that something may not."""
        return all(other.excludes(opposite) for opposite in self._opposites)

    @cached_property
    def _values(self) -> dict[str, _Values]:
        """What is known of the values that fit, by label."""
        labels = dict.fromkeys(matcher.label for matcher in self.matchers)
        return {name: _Values(tuple(m for m in self.matchers if m.label == name)) for name in labels}

    @cached_property
    def _opposites(self) -> tuple[Matchers, ...]:
        """Together, they fit exactly what this does not."""
        return tuple(Matchers((matcher.inverse,)) for matcher in self.matchers)


class _Values:
    """What is known of the values of one label that fit all of some matchers."""

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers
        self.beginnings = _beginnings(matchers)
        self.finite = self._finite()
        """Values of which no other can fit, where the matchers name them; not each must fit."""
        self.empty = not self.finite if self.finite is not None else self._contradicts(self)

    def _finite(self) -> frozenset[str] | None:
        named = [values for matcher in self.matchers if (values := _named_by(matcher)) is not None]
        if not named:
            return None
        return frozenset(v for v in frozenset.intersection(*named) if not self._refuses(v))

    def _refuses(self, value: str) -> bool:
        return any(matcher.surely(value) is False for matcher in self.matchers)

    def _contradicts(self, other: _Values) -> bool:
        """Say whether two endless sets certainly share nothing."""
        if any(not _compatible(*pair) for pair in product(self.beginnings, other.beginnings)):
            return True
        return any(_INVERSES[a.operator] == b.operator and a.value == b.value
                   for a, b in product(self.matchers, other.matchers))  # fmt: skip

    def excludes(self, other: _Values) -> bool:
        """Say whether certainly no value fits both."""
        if self.finite is not None and other.finite is not None:
            return self.finite.isdisjoint(other.finite)
        if self.finite is not None:
            return all(map(other._refuses, self.finite))
        if other.finite is not None:
            return all(map(self._refuses, other.finite))
        return self._contradicts(other)


_ATOM = r"(?:[^\\.+*?()|\[\]{}^$]|\\[\\.+*?()|\[\]{}^$\-/])"
_WORD = rf"\^?{_ATOM}*\$?"
_WORDS = re.compile(rf"{_WORD}(?:\|{_WORD})*")
_GROUPED_WORDS = re.compile(rf"\^?\((?:\?:)?({_WORDS.pattern})\)\$?")
_BEGINNING = re.compile(rf"\^?((?:{_ATOM}(?![?*+{{]))*)")


def _named_by(matcher: Matcher) -> frozenset[str] | None:
    """Give the only values that fit, where a matcher names them: `="a"`, `=~"a|b"`, `=~"(a|b)"`."""
    match matcher.operator:
        case "=":
            return frozenset([matcher.value])
        case "=~":
            return _words(matcher.value)
    return None


@lru_cache(maxsize=4096)
def _words(expression: str) -> frozenset[str] | None:
    grouped = _GROUPED_WORDS.fullmatch(expression)
    text = grouped[1] if grouped else expression
    if not _WORDS.fullmatch(text):
        return None
    words = re.findall(rf"(?:^|\|)\^?({_ATOM}*)\$?(?=\||\Z)", text)
    return frozenset(map(_plain, words))


def _beginnings(matchers: Iterable[Matcher]) -> list[str]:
    """Give texts with which every value that fits begins, as far as that is easily seen."""
    expressions = (m.value for m in matchers if m.operator == "=~" and "|" not in m.value)
    found = (_BEGINNING.match(expression) for expression in expressions)
    return [text for match in found if match and (text := _plain(match[1]))]


def _plain(atoms: str) -> str:
    return re.sub(r"\\(.)", r"\1", atoms)


def _compatible(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


@lru_cache(maxsize=4096)
def _compiled(expression: str, dot_is_newline: bool) -> Any:
    options = re2.Options()
    options.dot_nl = dot_is_newline
    options.never_capture = True
    options.log_errors = False
    return re2.compile(expression, options)


def _escaped(found: re.Match[str]) -> str:
    """Write a character as PromQL's strings do."""
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _problem_of_label(name: str) -> str:
    if name == "__name__":
        return "__name__ is not allowed: the metric is fixed"
    return "" if _LABEL.fullmatch(name) else f"{name!r} is no label name: {_NAME_RULE}"


def _problem_of_value(operator: str, value: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"{value!r} is no text"
    if operator[-1] != "~":
        return ""
    try:
        _compiled(value, dot_is_newline=True)
    except re2.error as error:
        return f"{value!r} is no regular expression of RE2: {error.args[0].decode()}"
    return ""


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


class _Reader:
    """Reads a text of matchers from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def matchers(self) -> list[Matcher]:
        """Read all of the text.

        Raises:
            ValueError: it is bad.
        """
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
        if problem := _problem_of_value(operator, value):
            raise self._problem(problem, start)
        return Matcher(label, operator, value)

    def _label(self) -> str:
        if self._rest()[:1] in tuple("\"'`"):
            raise self._problem("label names stand without quotes")
        name = _BARE_LABEL.match(self._text, self._at)
        text = name[0] if name else ""
        if not text:
            raise self._problem(f"a label name is missing, found {self._found()}")
        if problem := _problem_of_label(text):
            raise self._problem(problem)
        self._go_to(self._at + len(text))
        return text

    def _operator(self, label: str) -> Operator:
        signs = _SIGNS.match(self._text, self._at)
        if not signs:
            raise self._problem(f"an operator is missing after {label}, found {self._found()}; {_OPERATORS}")
        for operator in _INVERSES:
            if signs[0] == operator:
                self._go_to(signs.end())
                return operator
        raise self._problem(f"unknown operator {signs[0]}; {_OPERATORS}")

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
