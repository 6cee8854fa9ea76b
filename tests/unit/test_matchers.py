"""Matchers: what is read and refused, what is shown, and that no certain answer is ever wrong."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from itertools import combinations, product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.alerts.matchers import Matcher, Matchers
from support import require_program

VALUES = ("", "x", "y", "xx", "xy", "yx", "X", "z", "x.", "x.y", "x|y", "\n", "x\ny")
EVERY_LABELS = [{"a": a, "b": b} for a, b in product(VALUES, VALUES)]

STRANGE = [
    'say "hi"',
    "C:\\dir\\",
    "two\nlines",
    "tab\t",
    "\x00\x1f\x7f\x85",
    "é€",
    "😀",
    "\ufffd\u200b\ufeff",
    "'`",
]


ESCAPES = r"\\ \a \b \f \n \r \t \v \xHH \NNN \uHHHH \UHHHHHHHH"


def quantified(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3)
    grouped = st.builds("({}{})".format, st.sampled_from(["", "?:"]), several.map("|".join))
    repeated = st.builds("(?:{}){}".format, inner, st.sampled_from("?*+"))
    return st.one_of(grouped, repeated, several.map("|".join), several.map("".join))


atoms = st.sampled_from(
    [
        "",
        "x",
        "y",
        "X",
        ".",
        r"\.",
        r"\|",
        "[xy]",
        "[^x]",
        "xy",
        "x?",
        "y*",
        "x{2}",
        ".*",
        ".+",
        "^",
        "$",
        "^x",
        "y$",
    ]
)
expressions = st.recursive(atoms, quantified, max_leaves=5)
labels = st.sampled_from(["a", "b"])
equalities = st.builds(Matcher, labels, st.sampled_from(["=", "!="]), st.sampled_from(VALUES))
regexes = st.builds(Matcher, labels, st.sampled_from(["=~", "!~"]), expressions)
some_matchers = st.lists(equalities | regexes, max_size=3).map(lambda found: Matchers(tuple(found)))


def fits(matcher: Matcher, value: str, flags: int) -> bool:
    """Ask Python's regular expressions, whose `$` alone is another one."""
    if matcher.operator[-1] == "~":
        found = re.fullmatch(matcher.value.replace("$", r"\Z"), value, flags) is not None
    else:
        found = matcher.value == value
    return found != (matcher.operator[0] == "!")


def all_that_fit(matchers: Iterable[Matcher], flags: int = re.DOTALL) -> list[Mapping[str, str]]:
    """Try every set of labels; without DOTALL as Prometheus 2 and Alertmanager do."""
    fitting = {matcher: {v for v in VALUES if fits(matcher, v, flags)} for matcher in matchers}
    return [found for found in EVERY_LABELS if all(found[m.label] in values for m, values in fitting.items())]


def parsed(text: str) -> Matchers:
    return Matchers.parse(text)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "matchers"),
        [
            ("{}", []),
            (" { } ", []),
            ('{datname="billing"}', [("datname", "=", "billing")]),
            (
                '{a="1",b!="2",c=~"3",d!~"4"}',
                [("a", "=", "1"), ("b", "!=", "2"), ("c", "=~", "3"), ("d", "!~", "4")],
            ),
            ('\t{\n a = "1" ,\r\n _B2 =~ "2" , } ', [("a", "=", "1"), ("_B2", "=~", "2")]),
            ('{a="1", # why\n b="2"}', [("a", "=", "1"), ("b", "=", "2")]),
            ('a="1"', [("a", "=", "1")]),
            (' a = "1", b!~"2" ,', [("a", "=", "1"), ("b", "!~", "2")]),
            ("{a='it\\'s \"it\"'}", [("a", "=", 'it\'s "it"')]),
            ("{a=`\\d \"'\n`}", [("a", "=", "\\d \"'\n")]),
            (r'{a="\a\b\f\n\r\t\v\\\""}', [("a", "=", '\a\b\f\n\r\t\v\\"')]),
            (r'{a="\x41\101\u00e9\U0001F600"}', [("a", "=", "AAé😀")]),
            (r'{a="\xc3\xa9\303\251"}', [("a", "=", "éé")]),
            ('{a="},#{"}', [("a", "=", "},#{")]),
            ('{a="",a=~""}', [("a", "=", ""), ("a", "=~", "")]),
        ],
    )
    def test_reads_what_promql_reads(self, text: str, matchers: list[tuple[str, str, str]]) -> None:
        assert [(m.label, m.operator, m.value) for m in parsed(text)] == matchers

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "must not be empty; {} fits everything"),
            (" \n", "must not be empty; {} fits everything"),
            ("pg_up", "position 1: only matchers in braces are allowed, no metric name (pg_up)"),
            (' a:b{c="d"}', "position 2: only matchers in braces are allowed, no metric name (a:b)"),
            ("{,}", "position 2: a label name is missing, found ','"),
            ('{a="b",,}', "position 8: a label name is missing, found ','"),
            ("{", "position 2: a label name is missing, found the end"),
            ('{"a"="b"}', "position 2: label names stand without quotes"),
            (
                '{a-b="c"}',
                "position 2: 'a-b' is no label name: letters, digits and _ are allowed, no digit first",
            ),
            (
                '{1a="c"}',
                "position 2: '1a' is no label name: letters, digits and _ are allowed, no digit first",
            ),
            ('{a="b",__name__="c"}', "position 8: __name__ is not allowed: the metric is fixed"),
            ("{a}", "position 3: an operator is missing after a, found '}'; allowed: =, !=, =~, !~"),
            ('{a "b"}', "position 4: an operator is missing after a, found '\"'; allowed: =, !=, =~, !~"),
            ('{a=="b"}', "position 3: unknown operator ==; allowed: =, !=, =~, !~"),
            ('a<"b"', "position 2: unknown operator <; allowed: =, !=, =~, !~"),
            ("{a= b.c}", 'position 5: the value of a must stand in quotes: a="b.c"'),
            ("{a=}", "position 4: the value of a must stand in quotes, found '}'"),
            ("a=", "position 3: the value of a must stand in quotes, found the end"),
            ('{a="b}', 'position 4: the string that begins here lacks its closing "'),
            ("{a='b\"}", "position 4: the string that begins here lacks its closing '"),
            ("{a=`b}", "position 4: the string that begins here lacks its closing `"),
            (
                '{a="b\nc"}',
                'position 4: the string that begins here lacks its closing "; a newline in it is written \\n',
            ),
            (
                '{a="b\\d"}',
                rf"position 6: unknown escape \d; allowed: \" {ESCAPES}",
            ),
            (
                "{a='\\\"'}",
                rf"position 5: unknown escape \"; allowed: \' {ESCAPES}",
            ),
            ('{a="\\400"}', "position 5: the escape \\400 is no character"),
            ('{a="\\ud800"}', "position 5: the escape \\ud800 is no character"),
            ('{a="\\U00110000"}', "position 5: the escape \\U00110000 is no character"),
            ('{a="\\xff"}', "position 4: the bytes of the string that begins here are no UTF-8 text"),
            ('{a="\ud800"}', "position 4: '\\ud800' is no text"),
            (
                '{a=~"b(c"}',
                "position 5: 'b(c' is no regular expression of RE2: missing ): b(c",
            ),
            (
                '{a!~ "(?=b)"}',
                "position 6: '(?=b)' is no regular expression of RE2: invalid perl operator: (?=",
            ),
            ('{a="b" c="d"}', "position 8: a comma or } is missing, found 'c'"),
            ('a="b" c="d"', "position 7: a comma is missing, found 'c'"),
            ('a="b"}', "position 6: a comma is missing, found '}'"),
            ('{a="b"', "position 7: the closing } is missing"),
            ('{a="b"} > 3', "position 9: nothing may follow the closing }, found '> 3'"),
            ('{{a="b"}}', "position 2: a label name is missing, found '{'"),
        ],
    )
    def test_says_what_is_wrong_and_where(self, text: str, message: str) -> None:
        with pytest.raises(ValueError) as caught:
            parsed(text)
        assert str(caught.value) == message

    @given(st.text(alphabet='{}ab=!~"\\x,\n `', max_size=12))
    def test_any_text_is_read_or_refused_with_words(self, text: str) -> None:
        try:
            matchers = parsed(text)
        except ValueError as error:
            told = str(error)
            assert told.startswith(("position ", "must not be empty"))
        else:
            assert parsed(str(matchers) or "{}") == matchers

    def test_a_matcher_made_by_hand_is_looked_at_too(self) -> None:
        for label, value in (("a b", "x"), ("__name__", "x"), ("a", "("), ("a", "\udfff"), ("a\n", "x")):
            with pytest.raises(ValueError):
                Matcher(label, "=~", value)


class TestShowing:
    @given(
        st.lists(st.builds(Matcher, labels, st.sampled_from(["=", "!="]), st.text()) | regexes, min_size=1)
    )
    def test_what_is_shown_is_read_again(self, matchers: list[Matcher]) -> None:
        shown = str(Matchers(tuple(matchers)))
        assert parsed(shown) == Matchers(tuple(matchers))
        assert str(parsed(shown)) == shown
        assert "\n" not in shown

    def test_nothing_is_shown_of_no_matchers(self) -> None:
        assert str(parsed("{}")) == ""

    def test_is_promql_in_one_form(self) -> None:
        text = "{ b =~ `\\d+` , a='\"\\x07\\u200b😀', }"
        assert str(parsed(text)) == '{b=~"\\\\d+",a="\\"\\x07\\u200b😀"}'

    def test_alertmanager_knows_three_escapes(self) -> None:
        matchers = parsed('{a="b\\"c\\n\\t",d!~`\\d`}')
        assert matchers.for_alertmanager() == ['a="b\\"c\\n\t"', 'd!~"\\\\d"']


class TestMatching:
    @settings(max_examples=100)
    @given(equalities | regexes)
    def test_means_what_it_says(self, matcher: Matcher) -> None:
        for value in VALUES:
            assert matcher.matches(value) == fits(matcher, value, re.DOTALL)
            assert matcher.inverse.matches(value) != matcher.matches(value)
            both = {fits(matcher, value, flags) for flags in (0, re.DOTALL)}
            assert matcher.surely(value) == (both.pop() if len(both) == 1 else None)
        assert matcher.inverse.inverse == matcher

    def test_an_absent_label_is_empty(self) -> None:
        assert parsed('{a="",b!="x",c=~".*"}').matches({})
        assert not parsed('{a!=""}').matches({"b": "x"})
        assert parsed("{}").matches({})

    def test_all_must_fit(self) -> None:
        matchers = parsed('{a="1",b="2"}')
        assert matchers.matches({"a": "1", "b": "2", "c": "3"})
        assert not matchers.matches({"a": "1", "b": "3"})

    def test_an_expression_fits_the_whole_value(self) -> None:
        assert not parsed('{a=~"bil"}').matches({"a": "billing"})
        assert not parsed('{a=~"x|bil"}').matches({"a": "billing"})


@pytest.mark.parametrize("flags", [re.DOTALL, 0], ids=["prometheus 3", "prometheus 2"])
class TestCertainAnswersAreRight:
    @settings(max_examples=200, deadline=None)
    @given(one=some_matchers, other=some_matchers)
    def test_excludes(self, one: Matchers, other: Matchers, flags: int) -> None:
        assert one.excludes(other) == other.excludes(one)
        if one.excludes(other):
            assert not all_that_fit([*one, *other], flags)

    @settings(max_examples=200, deadline=None)
    @given(one=some_matchers, other=some_matchers)
    def test_covers(self, one: Matchers, other: Matchers, flags: int) -> None:
        if one.covers(other):
            assert all_that_fit(other, flags) == all_that_fit([*one, *other], flags)

    @settings(max_examples=100, deadline=None)
    @given(matchers=some_matchers)
    def test_is_impossible(self, matchers: Matchers, flags: int) -> None:
        if matchers.is_impossible:
            assert not all_that_fit(matchers, flags)


class TestAnswersOfEqualities:
    """Between equalities and plain words no answer may be missing."""

    plain = st.lists(
        equalities
        | st.builds(Matcher, labels, st.sampled_from(["=~"]), st.sampled_from(["x|y", "(y|z)", "x|", ""])),
        max_size=4,
    ).map(lambda found: Matchers(tuple(found)))

    @settings(max_examples=200, deadline=None)
    @given(one=plain, other=plain)
    def test_are_complete(self, one: Matchers, other: Matchers) -> None:
        assert one.is_impossible == (not all_that_fit(one))
        assert one.excludes(other) == (not all_that_fit([*one, *other]))
        assert one.covers(other) == (all_that_fit(other) == all_that_fit([*one, *other]))


class TestAnswersOfExpressions:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{a="x"}', '{a=~"y.*"}'),
            ('{a="x"}', '{a!~"x.*"}'),
            ('{a=""}', '{a=~".+"}'),
            ('{a=~"x|y"}', '{a=~"z.*"}'),
            ('{a=~"x|y"}', '{a=~"^(?:z|)$"}'),
            (r'{a=~"x\\.y"}', '{a="x-y"}'),
            ('{a=~"prod-.*"}', '{a=~"test-.*"}'),
            ('{a=~"^prod.+"}', '{a=~"pr\\\\.od.*"}'),
            ('{a=~"x.*"}', '{a!~"x.*",b="1"}'),
            ('{b="1",a="x"}', '{b="1",a!="x"}'),
            ('{a="x",a="y"}', "{}"),
            ("{}", '{a=~"x.*",a!~"x.*"}'),
            ('{a=~"x.*",a!="xy"}', '{a="xy"}'),
        ],
    )
    def test_excluded(self, one: str, other: str) -> None:
        assert parsed(one).excludes(parsed(other))
        assert parsed(other).excludes(parsed(one))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{a="x"}', '{b="x"}'),
            ('{a=~"x.*"}', '{a=~".*y"}'),
            ('{a=~"xy?.*"}', '{a=~"xz.*"}'),
            ('{a=~"xy{0}.*"}', '{a=~"xz.*"}'),
            ('{a=~"(?i)x.*"}', '{a=~"X.*"}'),
            ('{a=~"x|z.*"}', '{a=~"z.*"}'),
            ('{a=~"x.y"}', '{a="x\\ny"}'),
            ('{a!~"x.y"}', '{a="x\\ny"}'),
            ('{a!="x"}', '{a!="y"}'),
            ('{a=~"x|"}', '{a=""}'),
            ("{}", "{}"),
        ],
    )
    def test_not_excluded(self, one: str, other: str) -> None:
        assert not parsed(one).excludes(parsed(other))
        assert not parsed(other).excludes(parsed(one))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("{}", '{a=~"x.*"}'),
            ('{a=~"x.*"}', '{a="xy"}'),
            ('{a=~"x.*"}', '{a=~"xy|xz",b="1"}'),
            ('{a=~"x.*"}', '{a=~"x.*",b="1"}'),
            ('{a=~".+"}', '{a="x"}'),
            ('{a!=""}', '{a=~".+"}'),
            ('{a!~"x|y"}', '{a=~"z.*"}'),
            ('{a!~"prod-.*"}', '{a=~"test-.*"}'),
            ('{a=~"(y|x)"}', '{a=~"x|y"}'),
            ('{b="1"}', '{a="x",a="y"}'),
        ],
    )
    def test_covered(self, one: str, other: str) -> None:
        assert parsed(one).covers(parsed(other))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{a="x"}', "{}"),
            ('{a="x"}', '{a=~"x|y"}'),
            ('{a="x",b="1"}', '{a="x"}'),
            ('{a=~"x.y"}', '{a="x\\ny"}'),
            ('{a!="x"}', '{b="1"}'),
        ],
    )
    def test_not_covered(self, one: str, other: str) -> None:
        assert not parsed(one).covers(parsed(other))

    def test_hundreds_are_compared_quickly(self) -> None:
        texts = [
            f'{{datname="d{i}"}}' if i % 2 else f'{{datname=~".*_d{i}.*",server="s"}}' for i in range(500)
        ]
        matchers = [parsed(text) for text in texts]
        start = time.process_time()
        certain = sum(one.excludes(other) for one, other in combinations(matchers, 2))
        assert certain == 250 * 249 // 2 + 250 * 250
        assert time.process_time() - start < 3


class TestAgreesWith:
    """The programs that read what is shown: many matchers in one run."""

    TEXTS = (
        *(
            "{}",
            '{a="x"}',
            '{a!="x"}',
            '{a=""}',
            '{a!=""}',
            '{a=~"x"}',
            '{a=~"x.*"}',
            '{a!~"x.*"}',
            '{a=~"x|y"}',
        ),
        *('{a=~"x|"}', '{a=~""}', '{a!~""}', '{a=~"(x|y)"}', '{a=~"^x$|y"}', '{a=~"(?i)x"}', '{a=~"[^x]*"}'),
        *(
            '{a=~"x\\\\..*"}',
            '{a=~"x\\\\|y"}',
            "{a=~`\\w+`}",
            "{a=~`\\x{78}+`}",
            '{a=~"x{2}"}',
            '{a=~"\\\\Qx.y\\\\E"}',
        ),
        *(
            '{a=~".+",b=""}',
            '{a=~"x|y",b!="x"}',
            '{b=~"x.*",a!~"y.*"}',
            '{a=~"\\\\pL"}',
            "{a=~`[[:alpha:]]`}",
        ),
    )

    def test_promtool(self, tmp_path: Path) -> None:
        everything = [*EVERY_LABELS, *({"a": value, "b": ""} for value in STRANGE)]
        # A newline in a value is read by version: Prometheus 2 takes it for no `.`.
        series = [
            found for found in everything if found["a"] in STRANGE or "\n" not in "".join(found.values())
        ]
        by_text = [parsed(text) for text in self.TEXTS]
        strange = [
            Matchers((Matcher("a", operator, value),)) for value in STRANGE for operator in ("=", "!=")
        ]
        plain = [found for found in series if found["a"] not in STRANGE]
        groups = [(plain, by_text), (series, strange)]
        written = {"evaluation_interval": "1m", "tests": [promtool_test(*group) for group in groups]}
        (tmp_path / "test.yml").write_text(yaml.safe_dump(written))
        run("promtool", "test", "rules", str(tmp_path / "test.yml"))

    @pytest.mark.parametrize(
        "value", ["", "x", "xx", "x.y", "y", *(value for value in STRANGE if "\0" not in value)]
    )
    def test_amtool(self, tmp_path: Path, value: str) -> None:
        texts = [parsed(text) for text in self.TEXTS[1:]] if value not in STRANGE else []
        matchers = [*texts, *(Matchers((Matcher("a", "=", strange),)) for strange in STRANGE)]
        routes = [
            {"receiver": str(i), "matchers": found.for_alertmanager(), "continue": True}
            for i, found in enumerate(matchers)
        ]
        receivers = [{"name": name} for name in ["none", *map(str, range(len(matchers)))]]
        config = {"route": {"receiver": "none", "routes": routes}, "receivers": receivers}
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
        escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        told = run(
            "amtool",
            "config",
            "routes",
            "test",
            f"--config.file={tmp_path}/alertmanager.yml",
            f'a="{escaped}"',
        )
        fitting = [str(i) for i, found in enumerate(matchers) if found.matches({"a": value})]
        assert told.strip().split(",") == (fitting or ["none"])


def promtool_test(series: list[dict[str, str]], matchers: list[Matchers]) -> dict[str, object]:
    """Let promtool select among series by each of the matchers; each series has its number as value."""
    names = [series_name(found) for found in series]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": str(i)} for i, name in enumerate(names)],
        "promql_expr_test": [
            {
                "expr": f"m{found}",
                "exp_samples": [
                    {"labels": names[i], "value": i}
                    for i, labels in enumerate(series)
                    if found.matches(labels)
                ],
            }
            for found in matchers
        ],
    }


def series_name(found: Mapping[str, str]) -> str:
    quoted = (f"{name}={in_quotes(value)}" for name, value in found.items() if value)
    return f"m{{{','.join(quoted)}}}"


def in_quotes(value: str) -> str:
    """Write a string as JSON does, which PromQL reads too, but for the halves of rare characters."""
    return json.dumps(value) if max(value) <= "\uffff" else json.dumps(value, ensure_ascii=False)


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([require_program(program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
