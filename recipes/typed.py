"""Turns located values into the section dataclasses, checking every type and noting every mistake."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mlplora_vlm.errors import MendableError, did_you_mean
from recipes.located_yaml import Value

T = TypeVar("T")
Problem = tuple[str, str, str]
"""(dotted key, what is wrong, how to fix it)."""


@dataclasses.dataclass
class Findings:
    """What was found wrong so far."""

    errors: list[MendableError] = dataclasses.field(default_factory=list)
    broken: set[str] = dataclasses.field(default_factory=set)
    """Dotted keys whose value could not be read: nothing may be concluded from them."""

    def add(self, key: str, what: str, where: str, fix: str = "") -> None:
        """Notes that the value of ``key`` cannot be used."""
        self.broken.add(key)
        self.errors.append(MendableError(what, where, fix))


class _Unfit(Exception):
    """A value does not fit its type; the message says what was expected and what was given."""


def field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring under each field of a dataclass, by field name: the help text of the key."""
    docs: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for here, after in zip(tree.body, tree.body[1:], strict=False):
            match here, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(text.split())
    return docs


def build(cls: type[T], value: Value, path: str, findings: Findings) -> T:
    """An instance of the dataclass ``cls`` from a mapping.

    Mistakes go to ``findings``; a field that could not be read holds its default, and its key is in `broken`.
    """
    given = value.data
    if not isinstance(given, dict):
        findings.add(
            path,
            f"{path}: expected keys with values, got {_said(value)}",
            value.where,
            f"keys: {', '.join(field_docs(cls))}",
        )
        given = {}
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, child in given.items():
        if name not in fields:
            findings.add(
                f"{path}.{name}",
                f"unknown key {path}.{name}{did_you_mean(name, fields)}",
                child.where,
                f"keys: {', '.join(fields)}",
            )
    built: dict[str, Any] = {}
    for name, field in fields.items():
        key = f"{path}.{name}"
        if name in given:
            if (inner := _section(hints[name])) and (given[name].data is not None or inner is hints[name]):
                built[name] = build(inner, given[name], key, findings)
                continue
            sections = given[name].data
            if (inner := _named_sections(hints[name])) and isinstance(sections, dict):
                built[name] = {own: build(inner, one, f"{key}.{own}", findings) for own, one in sections.items()}
                continue
            try:
                built[name] = read(hints[name], given[name])
                continue
            except _Unfit as error:
                docs = field_docs(cls).get(name)
                findings.add(key, f"{key}: {error}", given[name].where, f"{key} is: {docs}" if docs else "")
        elif _required(field):
            if path not in findings.broken:
                findings.add(key, f"{key} is missing", value.where, f"{key} is: {field_docs(cls).get(name, '')}")
            findings.broken.add(key)
        if _required(field):
            built[name] = ""  # a stand-in: the key is in `broken`, and errors are raised before anyone sees it
    return cls(**built)


def add_problems(section: Any, value: Value, path: str, findings: Findings) -> None:
    """Notes what the section's own ``problems()`` finds, for it and for sections within it.

    A finding that depends on a field which could not be read is left out: see `standing`.
    """
    given = value.data if isinstance(value.data, dict) else {}
    broken = {key.removeprefix(f"{path}.") for key in findings.broken if key.startswith(f"{path}.")}
    for name, what, fix in standing(lambda one: one.problems(), section, broken):
        if name not in broken:
            where = given[name].where if name in given else value.where
            findings.add(f"{path}.{name}", f"{path}.{name}: {what}", where, fix)
    for field in dataclasses.fields(section):
        inner = getattr(section, field.name)
        if dataclasses.is_dataclass(inner) and hasattr(inner, "problems"):
            add_problems(inner, given.get(field.name, value), f"{path}.{field.name}", findings)
        elif isinstance(inner, dict):
            place = given.get(field.name, value)
            for own, one in inner.items():
                if dataclasses.is_dataclass(one):
                    there = place.data.get(own, place) if isinstance(place.data, dict) else place
                    add_problems(one, there, f"{path}.{field.name}.{own}", findings)


def standing(check: Callable[[Any], Iterable[Problem]], section: Any, broken: Collection[str]) -> list[Problem]:
    """What ``check`` finds in ``section`` whatever the values of its ``broken`` fields (dotted) are.

    A field that could not be read holds a stand-in: what is true of that alone is no mistake of the user.
    """
    found = _found(check, section) if broken else list(check(section))
    for key in sorted(broken):
        for changed in _changed(section, key.split(".")):
            others = _found(check, changed) if found else []
            found = [one for one in found if one in others]
    return found


def _found(check: Callable[[Any], Iterable[Problem]], section: Any) -> list[Problem]:
    found: list[Problem] = []
    # a stand-in may fail a check; what it found before still counts
    with suppress(AttributeError, LookupError, TypeError, ValueError, ArithmeticError, MendableError):
        found.extend(check(section))
    return found


def _changed(section: Any, path: list[str]) -> Iterator[Any]:
    """The section with other values of the field at ``path``; nothing where it has no such field."""
    name, *rest = path
    if isinstance(section, dict):
        yield from ({**section, name: one} for one in _others(section.get(name), rest))
    elif name in {field.name for field in dataclasses.fields(section)}:
        values = _others(getattr(section, name), rest, get_type_hints(type(section))[name])
        yield from (dataclasses.replace(section, **{name: one}) for one in values)


def _others(value: Any, path: list[str], hint: Any = None) -> Iterator[Any]:
    """Other values in place of ``value``, or of what is at ``path`` within it; ``hint``: its type."""
    if path:
        return _changed(value, path) if dataclasses.is_dataclass(value) or isinstance(value, dict) else iter(())
    if dataclasses.is_dataclass(value):
        return (one for field in dataclasses.fields(value) for one in _changed(value, [field.name]))
    return iter(() if hint is None else _samples(hint))


class _AnyText(str):
    """A text that may be any: it equals whatever a check compares it with."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __ne__(self, other: object) -> bool:
        return not self == other


def _samples(hint: Any) -> tuple[Any, ...]:
    """Values of a type that differ in whatever a check may ask of them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return tuple(one for inner in arguments for one in _samples(inner))
    if origin is Literal:
        return arguments
    if origin is tuple:
        return ((), arguments and tuple(_samples(arguments[0])), *((one,) for one in _samples(arguments[0])))
    if origin is dict:
        return ({},)
    simple = {bool: (False, True), int: (-1, 0, 1, 2, 3, 10**6), float: (-1.0, 0.0, 0.5, 1.0, 1e6)}
    if hint is str:
        return ("", "?", _AnyText("?"))
    return (None,) if hint is type(None) else simple.get(hint, ())


def read(hint: Any, value: Value) -> Any:
    """The value as the type asks for it; raises `_Unfit`."""
    data, origin, arguments = value.data, get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        return read(inner, value)
    if origin is Literal:
        # `is` on the type: True equals 1 in Python, and means something else here
        if any(data == choice and type(data) is type(choice) for choice in arguments):
            return data
        choices = [str(choice) for choice in arguments]
        raise _Unfit(f"expected one of {', '.join(choices)}, got {_said(value)}{did_you_mean(value.text, choices)}")
    if origin is dict:
        if data is None:  # a preset takes back what the recipe says
            return {}
        if not isinstance(data, dict) or dataclasses.is_dataclass(arguments[1]):
            raise _Unfit(f"expected keys with values, got {_said(value)}")
        return {name: read(arguments[1], inner) for name, inner in data.items()}
    if origin is tuple:
        if not isinstance(data, list):
            raise _Unfit(f"expected a list, got {_said(value)}")
        items = [read(arguments[0], item) for item in data]
        twice = sorted({str(item) for item in items if items.count(item) > 1})
        if twice:
            raise _Unfit(f"{', '.join(twice)} is named twice")
        return tuple(items)
    return _scalar(hint, value)


def _section(hint: Any) -> type[Any] | None:
    """The dataclass where a field holds one, or one or nothing."""
    kinds = [hint, *(get_args(hint) if get_origin(hint) in (Union, types.UnionType) else [])]
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind) and isinstance(kind, type)), None)


def _named_sections(hint: Any) -> type[Any] | None:
    """The dataclass where a field holds several of it by name."""
    inner = get_args(hint)[1] if get_origin(hint) is dict else None
    return inner if dataclasses.is_dataclass(inner) and isinstance(inner, type) else None


def _scalar(hint: Any, value: Value) -> Any:
    data = value.data
    if hint is bool:
        if isinstance(data, bool):
            return data
        meant = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}.get(
            value.text.lower()
        )
        raise _Unfit(f"expected true or false, got {_said(value)}" + (f" (did you mean {meant}?)" if meant else ""))
    if hint is int:
        if isinstance(data, int) and not isinstance(data, bool):
            return data
        whole = f" (did you mean {int(data)}?)" if isinstance(data, float) and data.is_integer() else ""
        raise _Unfit(f"expected a whole number, got {_said(value)}{whole}")
    if hint is float:
        if isinstance(data, int | float) and not isinstance(data, bool):
            number = float(data) if abs(data) < 1e300 else math.inf
            if math.isfinite(number):
                return number
        raise _Unfit(f"expected a finite number, got {_said(value)}")
    if hint is str:
        if isinstance(data, str):
            return data
        if isinstance(data, int | float) and not isinstance(data, bool):
            return value.text  # a folder 2024, a commit 7e10
        raise _Unfit(f"expected text, got {_said(value)}")
    raise TypeError(f"no reader for {hint}")


def _said(value: Value) -> str:
    match value.data:
        case None:
            return "nothing"
        case bool():
            return value.text.lower()
        case int() | float():
            return value.text[:40]
        case str():
            return f"the text {value.data[:60]!r}"
        case list():
            return "a list"
        case _:
            return "keys with values"


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
