"""What a section is made of: strict models, and their mistakes in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Section(BaseModel):
    """A mapping in the file: unknown keys are refused, and it never changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def explain(details: ErrorDetails, model: type[Section]) -> tuple[tuple[str | int, ...], str]:
    """Say where in `model` a validation error lies, and what is wrong and what is allowed there.

    The value itself is shown only for kinds of mistake that cannot concern a secret.
    """
    place = details["loc"]
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return place, f"unknown key; allowed: {', '.join(_allowed_keys(model, place[:-1]))}"
        case "missing":
            return place, "is required"
        case "value_error":
            return place, str(context["error"])
        case "greater_than_equal":
            return place, f"must be at least {context['ge']}, is {details['input']}"
        case "less_than_equal":
            return place, f"must be at most {context['le']}, is {details['input']}"
        case "too_short":
            return place, f"must have at least {context['min_length']} entry"
        case "int_type" | "int_parsing" | "int_from_float":
            return place, f"must be a whole number, is {details['input']!r}"
        case "string_type":
            return place, f"must be text, is {_kind(details['input'])}"
        case "list_type":
            return place, f"must be a list, is {_kind(details['input'])}"
        case "model_type" | "dict_type":
            return place, f"must be a mapping, is {_kind(details['input'])}"
        case _:
            return place, details["msg"]


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "empty"}
    return names.get(type(value), "a number")


def _allowed_keys(model: type[Section], place: tuple[str | int, ...]) -> list[str]:
    """Give the keys of the mapping at `place` below `model`."""
    for step in place:
        if isinstance(step, str):
            model = next(_models_in(model.model_fields[step].annotation))
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[Section]]:
    """Find the sections within an annotation such as `list[Server] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
