"""From a file to its topology: `FILE[:NAME]` with parameters."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from squall.api.topology import Topology
from squall.errors import Defect, TopologyError, because, did_you_mean
from squall.planner.guesses import how_to_install, how_to_mend
from squall.planner.parameters import bound_parameters

MAX_ERROR = 500
"""How much of the text of a user's exception is shown."""


def split_target(target: str) -> tuple[str, str | None]:
    """FILE and NAME of `FILE[:NAME]`."""
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier() and not os.path.exists(target):
        return file, name
    return target, None


def load_topology(file: str, name: str | None, parameters: Sequence[str]) -> Topology:
    """The topology that a file defines.

    Args:
        name: of the `Topology`, or of the function that returns one; None if the file has only one.
        parameters: `NAME=VALUE` texts for the function.

    Raises:
        TopologyError: the file cannot be read or imported, holds no topology or several, or parameters do not fit.
    """
    module = _import(Path(file))
    found = _named(module, name, file) if name else _only(module, file)
    if isinstance(found, Topology):
        if parameters:
            given = ", ".join(parameters)
            message = f'"{file}" defines a Topology, not a function, so it takes no parameters'
            raise TopologyError(Defect("parameter_unexpected", message, (("given", given),), "leave -p out"))
        return found
    return _call(found, parameters, file)


def _fail(code: str, message: str, fix: str, *facts: tuple[str, str]) -> TopologyError:
    return TopologyError(Defect(code, message, facts, fix))


def _import(path: Path) -> ModuleType:
    if not os.path.exists(path):  # what no file can be called is not there either
        raise _fail("file_missing", f'there is no file "{path}"', "check the path")
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.py"))
        fix = "name the file" + (f": {path / inside[0]}" if inside else "")
        raise _fail("file_is_folder", f'"{path}" is a folder', fix)
    if not path.is_file() or not os.access(path, os.R_OK):  # a pipe would be waited for
        why = "it is no regular file" if not path.is_file() else "it may not be read"
        fix = "name a file that can be read"
        raise _fail("file_not_python", f'"{path}" cannot be read as Python', fix, ("because", why))
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise _fail("file_not_python", f'"{path}" is no Python file', "give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failed_import(error, path) from error
    return module


def _module_name(path: Path) -> str:
    """The file's own name, unless a module of another file has it: a `random.py` must not take Python's place."""
    name = path.stem
    if not name.isidentifier():
        return "squall_topology"
    there = sys.modules.get(name)
    is_taken = name in sys.stdlib_module_names or (
        there is not None and getattr(there, "__file__", None) != str(path.resolve())
    )
    return f"squall_topology_{name}" if is_taken else name


def _failed_import(error: BaseException, path: Path) -> TopologyError:
    match error:
        case SyntaxError():
            file = error.filename or path
            message = f'"{file}" is not valid Python: {error.msg}'
            line = f", line {error.lineno}" if error.lineno else ""  # there is none in a file that is no text
            return _fail("file_syntax", message, "mend the line", ("at", f"{file}{line}"))
        case ModuleNotFoundError(name=str(name)):
            message = f'"{path}" imports "{name}", which is not installed'
            return _fail("module_missing", message, how_to_install(name), ("at", _line(error, path)))
        case TopologyError():
            return TopologyError(*(defect.at(_line(error, path)) for defect in error.defects))
        case _:
            fix = how_to_mend(error)
            facts = (("error", because(error, MAX_ERROR)), ("at", _line(error, path)))
            return _fail("file_raises", f'"{path}" raised while it was imported', fix, *facts)


def _line(error: BaseException, path: Path) -> str:
    """The line of the user's file that led to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path.resolve()]
    frame = (own or frames)[-1] if frames else None
    return f"{path.name}, line {frame.lineno}" if frame else str(path)


def _named(module: ModuleType, name: str, file: str) -> Topology | Callable[..., Any]:
    found = getattr(module, name, None)
    if isinstance(found, Topology) or (callable(found) and not isinstance(found, type)):
        return found
    candidates = [*_topologies(module), *_functions(module)]
    near = did_you_mean(name, candidates)
    fix = f'did you mean "{near}"?' if near else "name a Topology, or a function that returns one"
    raise _fail(
        "topology_unknown", f'"{file}" has no topology "{name}"', fix, ("found", ", ".join(candidates) or "none")
    )


def _topologies(module: ModuleType) -> dict[str, Topology]:
    # By their types: proxies of other libraries may raise when they are asked for their class.
    return {name: value for name, value in vars(module).items() if issubclass(type(value), Topology)}


def _functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    def returns_topology(function: Any) -> bool:
        hint = getattr(function, "__annotations__", {}).get("return")
        return hint is Topology or (isinstance(hint, str) and hint.rsplit(".", 1)[-1] == "Topology")

    return {
        name: value
        for name, value in vars(module).items()
        if issubclass(type(value), FunctionType) and value.__module__ == module.__name__ and returns_topology(value)
    }


def _only(module: ModuleType, file: str) -> Topology | Callable[..., Any]:
    topologies, functions = _topologies(module), _functions(module)
    distinct = {id(value): name for name, value in topologies.items()}
    found: list[Any] = list({id(value): value for value in topologies.values()}.values()) or list(functions.values())
    if len(found) == 1:
        return found[0]
    if not found:
        raise _none_found(module, file)
    names = sorted(distinct.values()) if distinct else sorted(functions)
    fix = f"say which: {file}:{names[0]}"
    raise _fail("topology_ambiguous", f'"{file}" defines {len(found)} topologies', fix, ("found", ", ".join(names)))


def _none_found(module: ModuleType, file: str) -> TopologyError:
    """With the functions that seem to make one, which only lack the annotation."""
    fix = "define one at module level, or a function with the annotation `-> Topology`"
    own = [
        value
        for value in vars(module).values()
        if issubclass(type(value), FunctionType) and value.__module__ == module.__name__
    ]
    makers = [function.__name__ for function in own if Topology.__name__ in function.__code__.co_names]
    if not makers:
        return _fail("topology_missing", f'"{file}" defines no topology', fix)
    fix = f"annotate it: `def {makers[0]}(...) -> Topology`; or name it: {file}:{makers[0]}"
    facts = ("functions that seem to make one", ", ".join(makers))
    return _fail("topology_missing", f'"{file}" defines no topology', fix, facts)


def _call(function: Callable[..., Any], parameters: Sequence[str], file: str) -> Topology:
    bound = bound_parameters(function, parameters)
    try:
        result = function(*bound.args, **bound.kwargs)
    except TopologyError as error:
        raise TopologyError(*(defect.at(_line(error, Path(file))) for defect in error.defects)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _fail(
            "file_raises",
            f"`{function.__name__}` raised",
            how_to_mend(error),
            ("error", because(error, MAX_ERROR)),
            ("at", _line(error, Path(file))),
        ) from error
    if not isinstance(result, Topology):
        message = f"`{function.__name__}` returned a {type(result).__name__}"
        raise _fail("topology_missing", message, "return the Topology")
    return result
