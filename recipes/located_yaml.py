"""Reads YAML into values that know where they were written; plain data only, and every mistake is mendable."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from mlplora_vlm.errors import MendableError, MendableErrors

MAX_BYTES = 1 << 20
MAX_DEPTH = 16

Scalar: TypeAlias = "bool | int | float | str | None"


@dataclass(frozen=True)
class Value:
    """One YAML value and its place."""

    data: Scalar | list[Value] | dict[str, Value]
    where: str
    """``file:line dotted.key``, or the piece of the command line."""
    text: str = ""
    """A scalar as it was written: a commit such as 7e10 stays text where text is expected."""


class PlainLoader(yaml.SafeLoader):
    """YAML's data without its surprises.

    The scalars are YAML 1.2's: ``1e-4`` is a number, ``on`` and ``no`` are words, and a date is text.  Aliases are
    refused, since a few lines of them grow without bound, and so is deep nesting, on which the composer recurses.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As the base class does, within `MAX_DEPTH` levels and without aliases."""
        event = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not read here", problem_mark=mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


SCALARS = {
    "tag:yaml.org,2002:null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    "tag:yaml.org,2002:bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "tag:yaml.org,2002:int": re.compile(r"[-+]?[0-9][0-9_]*\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
_FIRST = {
    "null": ["~", "n", "N", ""],
    "bool": list("tTfF"),
    "int": list("-+0123456789"),
    "float": list("-+.0123456789"),
}
# a fresh dict: add_implicit_resolver would otherwise only extend YAML 1.1's words
PlainLoader.yaml_implicit_resolvers = {}
for _tag, _pattern in SCALARS.items():
    PlainLoader.add_implicit_resolver(_tag, _pattern, _FIRST[_tag.rpartition(":")[2]])


class PlainDumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else, so that both read what was written."""


for _tag, _pattern in SCALARS.items():
    PlainDumper.add_implicit_resolver(_tag, _pattern, _FIRST[_tag.rpartition(":")[2]])


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Unusual line breaks are escaped: PyYAML would write them as they are, and read them back as spaces."""
    style = '"' if re.search("[\r\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


PlainDumper.add_representer(str, _text)


def dump(data: object) -> str:
    """Plain data as YAML text that `read_text` reads back equal."""
    return yaml.dump(data, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def read_file(path: Path) -> Value:
    """The file's top-level value; raises `MendableError` where it cannot be read or is not plain YAML."""
    shown = str(path)
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        near = ", ".join(sorted(str(p) for p in path.parent.glob("[!_]*.yaml"))[:16]) if path.parent.is_dir() else ""
        raise MendableError(
            f"cannot read the recipe: {error.strerror}",
            shown,
            f"recipes here: {near}" if near else "give the path of a recipe",
        ) from None
    if size > MAX_BYTES:
        raise MendableError(f"the file has {size:,} bytes, more than any recipe", shown, "give the path of a recipe")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MendableError(f"not UTF-8 text (byte {error.start})", shown, "save the file as UTF-8") from None
    return read_text(text, shown)


def read_text(text: str, file: str) -> Value:
    """YAML text as located values.  ``file`` names the text in ``Value.where``."""
    node = _compose(text, file)
    if node is None:
        return Value(None, f"{file}:1")
    errors: list[MendableError] = []
    value = _value(node, lambda node, key: f"{file}:{node.start_mark.line + 1} {key}".rstrip(), "", errors)
    if errors:
        raise MendableErrors(errors)
    return value


def read_word(text: str, where: str) -> Value:
    """One value from a command line, such as ``1e-4`` or ``[language]``; all of it is placed at ``where``."""
    errors: list[MendableError] = []
    node = _compose(text, where)
    value = Value(None, where) if node is None else _value(node, lambda _node, _key: where, "", errors)
    if errors:
        raise MendableErrors(errors)
    return value


def _compose(text: str, file: str) -> yaml.Node | None:
    """The syntax tree; raises `MendableError` for what is not YAML."""
    try:
        loader = PlainLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = file if mark is None or file.startswith("command line") else f"{file}:{mark.line + 1}"
        raise MendableError(
            f"not plain YAML: {error.problem or error.context}", at, "mend the line, or quote the text"
        ) from None
    except yaml.YAMLError as error:  # characters that YAML forbids
        raise MendableError(f"not plain YAML: {str(error).splitlines()[0]}", file, "remove the character") from None


def _value(node: yaml.Node, place: Callable[[yaml.Node, str], str], key: str, errors: list[MendableError]) -> Value:
    where = place(node, key)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, where, errors)
    if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        errors.append(MendableError(f"the tag {node.tag!r} is not read", where, "remove it: a recipe holds plain data"))
    elif isinstance(node, yaml.SequenceNode):
        return Value([_value(child, place, f"{key}[{i}]", errors) for i, child in enumerate(node.value)], where)
    elif isinstance(node, yaml.MappingNode):
        found: dict[str, Value] = {}
        for name, child in node.value:
            if not isinstance(name, yaml.ScalarNode):
                errors.append(MendableError("a key must be a word", place(name, key), "write key: value"))
                continue
            dotted = f"{key}.{name.value}" if key else name.value
            if name.value in found:
                first = found[name.value].where
                errors.append(
                    MendableError(
                        f"{dotted} is given twice (first at {first})", place(name, dotted), "keep one of them"
                    )
                )
                continue
            # the key's line, also where its value begins on the next one
            inner = _value(child, place, dotted, errors)
            found[name.value] = Value(inner.data, place(name, dotted), inner.text)
        return Value(found, where)
    return Value(None, where)


def _scalar(node: yaml.ScalarNode, where: str, errors: list[MendableError]) -> Value:
    kind, text = node.tag.rpartition(":")[2], node.value
    if node.tag not in SCALARS and node.tag != "tag:yaml.org,2002:str":
        errors.append(MendableError(f"the tag {node.tag!r} is not read", where, "remove it: a recipe holds plain data"))
        return Value(None, where, text)
    try:
        match kind:
            case "null":
                return Value(None, where, text)
            case "bool":
                return Value(text.lower() == "true", where, text)
            case "int":
                return Value(int(text), where, text)
            case "float":
                return Value(float(re.sub(r"\.(inf|nan)\Z", r"\1", text.lower())), where, text)
    except ValueError:  # an explicit !!int on a word, or more digits than int() reads
        errors.append(MendableError(f"{text[:40]!r} is no {kind}", where, "write a plain number"))
    return Value(text, where, text)
