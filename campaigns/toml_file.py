"""Files that people write: read as TOML, checked against a model, every fault with its line.

tomllib does the parsing. It does not say in which line a key stands, so the lines are
looked up here; where that fails the fault still names the key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
Key = tuple[str | int, ...]
LARGEST = 2_000_000  #: bytes; a file that people write is smaller
HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
ASSIGNMENT = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
PIECE = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with a file, and what to do about it."""

    message: str
    key: str = ""  #: as it is written in the file, dotted
    line: int | None = None
    value: str = ""  #: as it is written, shortened
    hint: str = ""  #: what to write instead
    code: str = "LAB-0201"
    meant: str = ""  #: the key that a misspelt one was probably meant to be: nothing is known of it then


class FileFaults(Exception):
    """All that is wrong with one file. Nothing was done with it."""

    def __init__(self, path: Path | str, faults: Sequence[Fault]) -> None:
        self.path = Path(path)
        self.faults = sorted(faults, key=lambda f: (f.line or 0, f.key))
        super().__init__(f"{self.path}: " + "; ".join(f.message for f in self.faults))


@dataclass(frozen=True)
class Document:
    """A parsed file with the line of every key."""

    path: Path
    text: str
    data: dict[str, Any]
    lines: Mapping[Key, int] = field(default_factory=dict)

    def line(self, key: Sequence[str | int]) -> int:
        """Line of a key, or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            if tuple(key[:length]) in self.lines:
                return self.lines[tuple(key[:length])]
        return 1

    def located(self, fault: Fault) -> Fault:
        """The fault with its line, looked up by its dotted key."""
        if fault.line is not None:
            return fault
        parts: list[str | int] = [int(p) if p.isdigit() else p for p in steps_of(fault.key)]
        return replace(fault, line=self.line(parts))


def steps_of(key: str) -> list[str]:
    """The parts of a dotted key; items of lists count as parts."""
    return re.findall(r"[^.\[\]]+", key)


def read(path: Path) -> Document:
    """Read and parse a file.

    Raises
    ------
    FileFaults
        It is not there, is no text, is too large, or is no TOML.
    """
    text = read_text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFaults(path, [syntax_fault(error, text)]) from None
    except RecursionError:
        raise FileFaults(path, [Fault(message="brackets are nested too deeply", line=1, code="LAB-0202")]) from None
    return Document(path, text, data, dict(find_lines(text)))


def read_text(path: Path) -> str:
    """The text of a file, with Windows line ends and byte-order mark made plain."""
    try:
        if path.stat().st_size > LARGEST:
            raise FileFaults(
                path, [Fault(message=f"the file is larger than {LARGEST // 10**6} MB", line=1, code="LAB-0202")]
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileFaults(
            path, [Fault(message="there is no such file", code="LAB-0203", hint=near_files(path))]
        ) from None
    except OSError as error:
        raise FileFaults(path, [Fault(message=f"cannot be read: {error.strerror}", code="LAB-0203")]) from None
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        fault = Fault(
            message=f"byte {error.start} is no UTF-8 text; save the file as UTF-8", line=line, code="LAB-0202"
        )
        raise FileFaults(path, [fault]) from None


def near_files(path: Path) -> str:
    """A file of a similar name, if there is one."""
    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {folder / near[0]}?" if near else ""


def syntax_fault(error: tomllib.TOMLDecodeError, text: str) -> Fault:
    """What tomllib says, in words, with the line."""
    message = str(error)
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(found.group(1)) if found else max(1, text.count("\n"))
    message = re.sub(r"\s*\(at .*?\)$", "", message)
    return Fault(message=f"not TOML: {message[0].lower()}{message[1:]}", line=line, code="LAB-0202")


def find_lines(text: str) -> Iterable[tuple[Key, int]]:
    """Key path and line number of every table and assignment."""
    table: Key = ()
    counts: dict[Key, int] = {}
    quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        inside, quote = quote, _open_quote(line, quote)
        if inside:
            continue
        if (header := HEADER.match(line)) and not ASSIGNMENT.match(line):
            path = _resolve(_pieces(header.group(2)), counts)
            if header.group(1) == "[[":
                counts[path] = counts.get(path, -1) + 1
                yield path, number
                path = (*path, counts[path])
            table = path
            yield table, number
        elif assignment := ASSIGNMENT.match(line):
            key = (*table, *_pieces(assignment.group(1)))
            yield key, number
            yield from _inline(line[assignment.end() :], key, number)


def _pieces(text: str) -> Key:
    return tuple(piece.strip("\"'") for piece in PIECE.findall(text))


def _resolve(path: Key, counts: Mapping[Key, int]) -> Key:
    """A table under an array of tables belongs to the newest element of it."""
    resolved: Key = ()
    for piece in path[:-1]:
        resolved = (*resolved, piece)
        if resolved in counts:
            resolved = (*resolved, counts[resolved])
    return (*resolved, *path[-1:])


def _inline(rest: str, key: Key, number: int) -> Iterable[tuple[Key, int]]:
    """Keys of an inline table stand in the same line; nesting is not followed."""
    if rest.lstrip().startswith("{"):
        for found in re.finditer(r"[{,]\s*([A-Za-z0-9_-]+)\s*=", rest):
            yield (*key, found.group(1)), number


def _open_quote(line: str, quote: str) -> str:
    """Which kind of long string is still open at the end of this line."""
    for mark in re.findall(r'"""|' + r"'''", line):
        if not quote:
            quote = mark
        elif quote == mark:
            quote = ""
    return quote


def check(model: type[M], document: Document) -> M:
    """The document as that model. Raises FileFaults with all faults at once."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise FileFaults(document.path, faults(model, document, error)) from None


def faults(model: type[BaseModel], document: Document, error: ValidationError) -> list[Fault]:
    """Pydantic's findings in the words of a lab."""
    found = error.errors(include_url=False)
    inside = {e["loc"][:-1] for e in found}  # a list of which nothing could be read is not empty
    return [fault_of(model, document, dict(e)) for e in found if e["type"] != "too_short" or e["loc"] not in inside]


def fault_of(model: type[BaseModel], document: Document, error: dict[str, Any]) -> Fault:
    """One finding."""
    where = written(error["loc"], document.data)
    message, hint = words(model, where, error)
    missing = error["type"] == "missing"
    return Fault(
        message=message,
        key=dotted(where),
        line=document.line(where[:-1] if missing else where),
        value="" if missing else shown(error.get("input")),
        hint=hint,
        meant=dotted((*where[:-1], near))
        if error["type"] == "extra_forbidden" and (near := alike(model, where))
        else "",
    )


def alike(model: type[BaseModel], where: Key) -> str:
    """The key that one that does not exist was probably meant to be; empty if there is none like it."""
    near = difflib.get_close_matches(str(where[-1]), keys_of(model, where[:-1]), n=1, cutoff=0.5)
    return near[0] if near else ""


UNION_TAGS = {"float", "integer", "categorical"}


def written(place: Key, data: Any) -> Key:
    """Pydantic's place of a finding less the names of its own that stand in it; a key of the file may be called alike."""
    found: list[str | int] = []
    for part in place:
        there = part in data if isinstance(data, Mapping) else isinstance(data, list) and isinstance(part, int)
        if there or isinstance(part, int) or not ("[" in part or part in UNION_TAGS):
            found.append(part)
            data = data[part] if there else None
    return tuple(found)


def words(model: type[BaseModel], where: Key, error: dict[str, Any]) -> tuple[str, str]:
    """Message and hint for one of pydantic's findings."""
    kind, context, name = error["type"], error.get("ctx", {}), str(where[-1]) if where else ""
    if kind == "extra_forbidden":
        near, known = alike(model, where), ", ".join(keys_of(model, where[:-1]))
        return f"{name!r} is not a key here", f"did you mean {near!r}?" if near else f"known keys: {known}"
    if kind == "missing":
        return f"{name!r} is missing", ""
    if kind == "value_error":
        return str(context.get("error", error["msg"])), ""
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}", ""
    if kind == "union_tag_invalid":
        return f"type must be one of {context['expected_tags']}", ""
    if kind == "union_tag_not_found":
        return "'type' is missing: float, integer or categorical", ""
    if kind == "string_pattern_mismatch":
        return f"this name {pattern_in_words(context['pattern'])}", ""
    if kind in COMPARISONS:
        return f"must be {COMPARISONS[kind]} {next(iter(context.values()))}", ""
    if kind in EXPECTED:
        return f"must be {EXPECTED[kind]}", ""
    message = error["msg"].replace("Input should be", "must be").replace("Value error, ", "")
    return message[0].lower() + message[1:], ""


def pattern_in_words(pattern: str) -> str:
    """What a name may be; our patterns are all of one form: ``^[first][others]{0,most}$``."""
    first, others, most = re.findall(r"^\^\[(.+?)\]\[(.+?)\]\{0,(\d+)\}\$$", pattern)[0]
    letter = "a letter of A-Z or a-z" if "A-Z" in first else "a small letter of a-z"
    marks = " ".join(re.sub(r"A-Z|a-z|0-9", "", others))
    return f"must begin with {letter}, go on with such letters, digits or {marks}, and have at most {int(most) + 1} characters"


COMPARISONS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "list_type": "a list in brackets",
    "tuple_type": "a list in brackets",
    "string_too_short": "longer text",
    "too_short": "a list with at least one entry",
}


def keys_of(model: type[BaseModel], where: Key) -> list[str]:
    """The keys that a table of the model knows."""
    current: Any = model
    for part in where:
        current = _inside(current, part)
    found: list[str] = []
    for candidate in _models(current):
        found += [(f.alias or n) for n, f in candidate.model_fields.items()]
    return list(dict.fromkeys(found))


def _inside(annotation: Any, part: str | int) -> Any:
    models = _models(annotation)
    for model in models:
        for name, info in model.model_fields.items():
            if part in (name, info.alias):
                return info.annotation
    return annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation mentions: itself, of a dict's values, a list's items, a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models(inner)]


def dotted(where: Key) -> str:
    """A key path as people write it: ``recipe.steps[0].name``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def shown(value: Any) -> str:
    """A value as it is written in the file, shortened; a whole table is not repeated."""
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    text = f'"{without_password(value)}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def without_password(text: str) -> str:
    """A text in which nobody can read the password of an address."""
    text = re.sub(r"(://[^:/\s]*):.*@", r"\1:***@", text)
    return re.sub(r"(password=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)
