"""What is written as YAML is read as it was, however odd, and reads well."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from plimsoll.alerts.writing import Lines, commented, dump, dump_groups

texts = st.text(st.characters(codec="utf-8"), max_size=150) | st.text(" \n\t:-#>|{}'\"\\%ab", max_size=150)
lines = texts.map(lambda text: Lines(text))
keys = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
values = st.recursive(
    texts | lines | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


quickly = settings(
    deadline=None, phases=[Phase.reuse, Phase.generate]
)  # to shrink a failure would take minutes


def meant(value: Any) -> Any:
    match value:
        case Lines():
            return value.joined
        case dict():
            return {key: meant(inner) for key, inner in value.items()}
        case list():
            return [meant(inner) for inner in value]
        case _:
            return value


@quickly
@given(values)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    assert yaml.safe_load(dump(value)) == meant(value)


@quickly
@given(
    st.lists(
        st.fixed_dictionaries({"alert": texts, "expr": texts, "annotations": st.dictionaries(keys, lines)})
    )
)
def test_blank_lines_between_rules_change_nothing(rules: list[dict[str, Any]]) -> None:
    groups = [{"name": "one", "rules": rules}, {"name": "two", "rules": rules}]
    assert yaml.safe_load(dump_groups(groups)) == {"groups": meant(groups)}


def test_lines_end_where_they_ended() -> None:
    text = Lines("{{- $of := 1 -}}\nA long description,\nin lines.")
    assert dump({"description": text}) == (
        "description: >-\n  {{- $of := 1 -}}\n  A long description,\n  in lines.\n"
    )


def test_a_long_text_is_folded_and_a_url_is_not() -> None:
    words = " ".join(["word"] * 40)
    assert max(map(len, dump({"description": words}).splitlines())) <= 92
    url = f"http://127.0.0.1/{'x' * 60}?a={{{{ $labels.a | urlquery }}}}&b={{{{ $labels.b | urlquery }}}}"
    assert dump({"url": url}) == f"url: {url}\n"


def test_promql_keeps_its_lines() -> None:
    assert dump({"expr": "a\nunless\nb"}) == "expr: |-\n  a\n  unless\n  b\n"


def test_lists_of_words_stand_on_one_line_and_others_do_not() -> None:
    assert dump({"equal": ["a", "b"], "routes": [{"c": "d"}]}) == "equal: [a, b]\nroutes:\n  - c: d\n"


def test_rules_stand_apart() -> None:
    rules = [{"record": "a", "expr": "b"}, {"alert": "c", "expr": "d"}]
    written = dump_groups([{"name": "one", "rules": rules}, {"name": "two", "rules": rules[:1]}])
    assert written == (
        "groups:\n  - name: one\n    rules:\n      - record: a\n        expr: b\n"
        "\n      - alert: c\n        expr: d\n"
        "\n  - name: two\n    rules:\n      - record: a\n        expr: b\n"
    )


@pytest.mark.parametrize("text", ["short", "long " * 100])
def test_a_comment_is_one(text: str) -> None:
    assert all(line.startswith("# ") and len(line) <= 110 for line in commented(text).splitlines())
