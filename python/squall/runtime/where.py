"""The expressions of `squall tap --where`: a small part of Python's, over the fields of a tuple.

An expression comes from outside and runs in the worker, for each tuple, so it is not given to `eval`: its syntax tree
is checked node by node and made into closures that know nothing else. There are no loops, no attributes but a few
methods of texts, and no `**`; texts and integers that it makes are bounded. So its cost is that of the values that it
looks at. `eval` without builtins was the alternative: it is no sandbox.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from squall.errors import ConfigError, Defect, did_you_mean
from squall.model.masking import HIDDEN, Masker
from squall.runtime.masked_values import cuttable, hides, without_secrets

MAX_CHARS = 1000
MAX_DEPTH = 20
MAX_NODES = 200
MAX_TEXT = 1 << 16
"""Characters of a text from which nothing new is made."""
MAX_BITS = 4096
"""Bits of an integer that is calculated with."""

Row = tuple[Any, ...]
Part = Callable[[Row], Any]
"""What an expression's part is for a tuple."""


Where = Callable[[Row], bool]
"""Whether a tuple fits; raises what the expression raises for it."""


def compiled(source: str, fields: Sequence[str], masker: Masker | None = None) -> Where:
    """An expression over the fields of a stream. It sees what is shown of a tuple: not the secrets.

    Raises:
        ConfigError: `expression_invalid`, or `expression_field_unknown`.
    """
    part = _Compiler(source, fields, masker or Masker()).part(_parsed(source))
    return lambda row: bool(part(row))


def _parsed(source: str) -> ast.expr:
    if len(source) > MAX_CHARS:
        raise _invalid(source[:60] + " …", f"it has more than {MAX_CHARS} characters")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        raise _invalid(source, str(error.msg)) from None
    except (ValueError, RecursionError, MemoryError):
        raise _invalid(source, "it is nested too deeply, or holds what no expression can") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise _invalid(source, "it has too many parts")
    if _depth(tree) > MAX_DEPTH:
        raise _invalid(source, "it is nested too deeply")
    return tree


def _depth(tree: ast.AST) -> int:
    """How deeply it is nested; counted level by level, as a recursion might not come back."""
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _invalid(source: str, because: str) -> ConfigError:
    facts = (("expression", source), ("because", because))
    fix = "compare fields: count > 5 and word.startswith('a'); see squall explain expression_invalid"
    return ConfigError(Defect("expression_invalid", "the expression of --where is not understood", facts, fix))


# -- what may be done to values -------------------------------------------------------------------------------------


def _number(value: Any) -> Any:
    """A number to calculate with.

    Raises:
        TypeError: it is none, or too long.
    """
    if type(value) is float or (isinstance(value, int) and value.bit_length() <= MAX_BITS):
        return value
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"a {type(value).__name__} is not calculated with")


def _text(value: Any) -> str:
    """A text to make another one of.

    Raises:
        TypeError: it is none, or too long.
    """
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    raise TypeError(f"a {type(value).__name__} is no text, or too long a one")


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        return _text(_text(left) + _text(right))
    return _number(left) + _number(right)


def _str(value: Any = "") -> str:
    if isinstance(value, str | float | bool | None):
        return _text(str(value))
    return str(_number(value))


def _int(value: Any = 0) -> int:
    return int(value[:400]) if isinstance(value, str) else int(_number(value))


def _float(value: Any = 0.0) -> float:
    return float(value[:400]) if isinstance(value, str) else float(_number(value))


def _abs(value: Any) -> Any:
    return abs(_number(value))


def _round(value: Any, digits: Any = None) -> Any:
    if digits is not None and not -400 <= _number(digits) <= 400:
        raise TypeError("so many digits are not rounded to")
    return round(_number(value), digits)


def _least(first: Any, second: Any, *others: Any) -> Any:
    return min(first, second, *others)


def _most(first: Any, second: Any, *others: Any) -> Any:
    return max(first, second, *others)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "str": _str,
    "int": _int,
    "float": _float,
    "abs": _abs,
    "round": _round,
}
_ORDERED: Mapping[str, Callable[..., Any]] = {"min": _least, "max": _most}
"""Functions that compare."""

_METHODS = (
    "startswith",
    "endswith",
    "lower",
    "upper",
    "strip",
    "lstrip",
    "rstrip",
    "find",
    "isdigit",
    "isalpha",
    "isalnum",
    "isspace",
    "isupper",
    "islower",
)
"""Methods of texts; `get` of a dict is there too."""


def _method(name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(str, name)

    def called(value: Any, *arguments: Any) -> Any:
        return method(_text(value), *arguments)

    return called


_CONTAINERS = (str, bytes, list, tuple, set, frozenset, dict)


def _contains(item: Any, container: Any) -> bool:
    if not isinstance(container, _CONTAINERS):
        raise TypeError(f"a {type(container).__name__} is not looked into")
    return item in container


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: _contains,
    ast.NotIn: lambda item, container: not _contains(item, container),
}

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _added,
    ast.Sub: lambda left, right: _number(left) - _number(right),
    ast.Mult: lambda left, right: _number(left) * _number(right),
    ast.Div: lambda left, right: _number(left) / _number(right),
    ast.FloorDiv: lambda left, right: _number(left) // _number(right),
    ast.Mod: lambda left, right: _number(left) % _number(right),
}

_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: lambda value: -_number(value),
    ast.UAdd: _number,
}


class _Compiler:
    """Makes closures of a syntax tree, and refuses what is not foreseen."""

    def __init__(self, source: str, fields: Sequence[str], masker: Masker) -> None:
        self._source, self._fields, self._masker = source, list(fields), masker

    def part(self, node: ast.expr) -> Part:
        """What a node is, as a function of the tuple."""
        match node:
            case ast.Constant(value=value):
                return self._constant(value)
            case ast.Name(id=name):
                return self._field(name)
            case ast.BoolOp(op=op, values=values):
                return _all_or_any([self.part(value) for value in values], is_and=isinstance(op, ast.And))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return _applied(_UNARY[type(op)], [self.part(operand)])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _applied(_OPERATORS[type(op)], [self.part(left), self.part(right)])
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compared(left, ops, others)
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                parts = [self.part(item) for item in items]
                make: Callable[..., Any] = (
                    set if isinstance(node, ast.Set) else list if isinstance(node, ast.List) else tuple
                )
                return _made(make, parts)
            case ast.Subscript(value=value, slice=index):
                return self._item(self.part(value), index)
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._call(function, arguments)
            case _:
                raise self._refused(node)

    def _constant(self, value: object) -> Part:
        if value is not None and not isinstance(value, str | bytes | int | float):
            raise _invalid(self._source, f"{value!r} is not foreseen")
        return lambda _row: value

    def _field(self, name: str) -> Part:
        if name not in self._fields:
            near = did_you_mean(name, self._fields)
            facts = (("expression", self._source), ("fields", ", ".join(self._fields) or "none"))
            fix = f'did you mean "{near}"?' if near else "use one of these; texts stand in quotes"
            message = f'the expression looks at "{name}", which is no field of the stream'
            raise ConfigError(Defect("expression_field_unknown", message, facts, fix))
        if self._masker.hides(name):
            return lambda _row: HIDDEN
        return operator.itemgetter(self._fields.index(name))

    def _compared(self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> Part:
        first = self._whole(left)
        rest = [(_COMPARISONS[type(op)], self._whole(one)) for op, one in zip(ops, others, strict=True)]
        if len(rest) == 1:
            ((compare, second),) = rest
            return lambda row: compare(first(row), second(row))

        def chained(row: Row) -> bool:
            before = first(row)
            for compare, part in rest:
                after = part(row)
                if not compare(before, after):
                    return False
                before = after
            return True

        return chained

    def _item(self, value: Part, index: ast.expr) -> Part:
        if isinstance(index, ast.Slice):
            if index.step is not None:
                raise _invalid(self._source, "a slice with a step is not foreseen")
            ends = [self.part(end) if end is not None else _nothing for end in (index.lower, index.upper)]
            return _applied(self._sliced, [value, *ends])
        return _applied(self._looked_up, [value, self.part(index)])

    def _looked_up(self, value: Any, key: Any) -> Any:
        if isinstance(value, dict):
            found = cast("dict[Any, Any]", value)
            if key not in found:  # asking a defaultdict for it would add it
                raise KeyError(key)
            return HIDDEN if hides(self._masker, key) else found[key]
        if not isinstance(value, str | bytes | list | tuple):
            raise TypeError(f"a {type(value).__name__} is not looked into")
        items = cast("list[Any]", value)
        return cuttable(items, self._masker)[key]

    def _sliced(self, value: Any, begin: Any, end: Any) -> Any:
        if not isinstance(value, str | bytes | list | tuple) or len(cast("list[Any]", value)) > MAX_TEXT:
            raise TypeError("that is not cut, or too long")
        return cuttable(cast("list[Any]", value), self._masker)[begin:end]

    def _whole(self, node: ast.expr) -> Part:
        """A part that is compared as a whole."""
        if isinstance(node, ast.Constant):
            return self.part(node)
        part, masker = self.part(node), self._masker
        return lambda row: without_secrets(part(row), masker)

    def _get(self, value: Any, key: Any, default: Any = None) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"a {type(value).__name__} is not looked into")
        return self._looked_up(cast("Any", value), key) if key in value else default

    def _call(self, function: ast.expr, arguments: list[ast.expr]) -> Part:
        if isinstance(function, ast.Name) and function.id in _ORDERED:
            return _applied(_ORDERED[function.id], [self._whole(argument) for argument in arguments])
        parts = [self.part(argument) for argument in arguments]
        match function:
            case ast.Name(id=name) if name in _FUNCTIONS:
                return _applied(_FUNCTIONS[name], parts)
            case ast.Attribute(value=value, attr="get"):
                return _applied(self._get, [self.part(value), *parts])
            case ast.Attribute(value=value, attr=name) if name in _METHODS:
                return _applied(_method(name), [self.part(value), *parts])
            case ast.Name(id=name) | ast.Attribute(attr=name):
                near = did_you_mean(name, (*_FUNCTIONS, *_ORDERED, *_METHODS, "get"))
                meant = f"; did you mean {near}()?" if near else ""
                raise _invalid(self._source, f"there is no {name}(){meant}")
            case _:
                raise self._refused(function)

    def _refused(self, node: ast.expr) -> ConfigError:
        text = ast.get_source_segment(self._source.strip(), node) or type(node).__name__
        return _invalid(self._source, f"{text} is not foreseen")


def _made(make: Callable[..., Any], parts: list[Part]) -> Part:
    return lambda row: make([part(row) for part in parts])


def _nothing(_row: Row) -> None:
    return None


def _applied(function: Callable[..., Any], parts: list[Part]) -> Part:
    if len(parts) == 1:
        (only,) = parts
        return lambda row: function(only(row))
    if len(parts) == 2:
        first, second = parts
        return lambda row: function(first(row), second(row))
    return lambda row: function(*(part(row) for part in parts))


def _all_or_any(parts: list[Part], *, is_and: bool) -> Part:
    def all_or_any(row: Row) -> Any:
        value: Any = is_and
        for part in parts:
            value = part(row)
            if bool(value) != is_and:
                break
        return value

    return all_or_any
