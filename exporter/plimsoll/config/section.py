"""What a section is made of: strict models, and their mistakes in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from plimsoll.config.problem import Place, Problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Section(BaseModel):
    """A mapping in the file: unknown keys are refused, and it never changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class PlacedError(ValueError):
    """A mistake that lies further inside than the value that a validator looks at: `place` leads there."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


class ElsewhereError(ValueError):
    """Mistakes in other files, which a value names."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def explanations(error: ValidationError, model: type[Section]) -> Iterator[tuple[Place, str]]:
    """Explain each mistake that lies in `model` itself."""
    return (explain(details, model) for details in error.errors() if not _is_elsewhere(details))


def problems_elsewhere(error: ValidationError) -> list[Problem]:
    """Give what is wrong in other files, once each."""
    told = [details["ctx"]["error"] for details in error.errors() if _is_elsewhere(details)]
    return list(dict.fromkeys(problem for each in told for problem in each.problems))


def _is_elsewhere(details: ErrorDetails) -> bool:
    return isinstance(details.get("ctx", {}).get("error"), ElsewhereError)


def explain(details: ErrorDetails, model: type[Section]) -> tuple[tuple[str | int, ...], str]:
    """Say where in `model` a validation error lies, and what is wrong and what is allowed there.

    The value itself is shown only for kinds of mistake that cannot concern a secret.
    """
    # pydantic marks a mistake in a key, instead of its value, by one more step.
    place = details["loc"][:-1] if details["loc"][-1:] == ("[key]",) else details["loc"]
    value = details["input"]
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return place, f"unknown key; allowed: {', '.join(_allowed_keys(model, place[:-1]))}"
        case "missing":
            return place, "is required"
        case "value_error":
            error = context["error"]
            return (*place, *error.place) if isinstance(error, PlacedError) else place, str(error)
        case "greater_than_equal":
            return place, f"must be at least {context['ge']}, is {value}"
        case "less_than_equal":
            return place, f"must be at most {context['le']}, is {value}"
        case "string_type":
            hint = "; put it in quotes" if isinstance(value, int | float) else ""
            return place, f"must be text, is {kind(value)}{hint}"
        case "bool_type":
            return place, f"must be true or false, is {shown(value)}"
        case "literal_error":
            return place, f"must be {context['expected']}, is {shown(value)}"
        case "too_short":
            return place, "must have at least one entry"
        case "list_type" | "tuple_type":
            return place, f"must be a list, is {kind(value)}"
        case "model_type" | "dict_type":
            return place, f"must be a mapping, is {kind(value)}"
        case _:
            return place, details["msg"]


def kind(value: object) -> str:
    """Name the kind of a value without showing it."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "empty"}
    return names.get(type(value), "a number")


def shown(value: object) -> str:
    """Show a text or a number, which must be no secret, and name the kind of anything else."""
    return repr(value) if type(value) in (str, int, float) else kind(value)


def _allowed_keys(model: type[Section], place: tuple[str | int, ...]) -> list[str]:
    """Give the keys of the mapping at `place` below `model`; indexes and free keys lead to no other model."""
    for step in place:
        if field := _fields(model).get(str(step)):
            model = next(_models_in(field.annotation))
    return list(_fields(model))


def _fields(model: type[Section]) -> dict[str, FieldInfo]:
    """Give the fields of a section that may be used, by the names that they have in the file."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {name: field for name, field in fields.items() if not field.deprecated}


def _models_in(annotation: Any) -> Iterator[type[Section]]:
    """Find the sections within an annotation such as `list[Server] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
