"""What somebody may have meant whose file raised: misspelt names, packages under other names."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from difflib import get_close_matches
from importlib.metadata import packages_distributions

from squall.api.topology import BoltDeclarer, SpoutDeclarer, Topology
from squall.errors import did_you_mean

PACKAGES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "google.protobuf": "protobuf",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What pip calls a module whose name is another one."""
VERY_NEAR = 0.85
"""There are very many names of modules: one that is only like another is another."""
EXTRAS = {
    "httpx": "http",
    "opentelemetry": "otel",
    "pyarrow": "parquet",
    "uvicorn": "http",
    "zstandard": "zstd",
}
"""Modules that an extra of squall brings."""
UNEXPECTED = re.compile(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'")


def how_to_install(module: str) -> str:
    """The fix for an import that found nothing."""
    top = module.split(".")[0]
    if extra := EXTRAS.get(top):
        return f'install the extra that brings it: pip install "squall[{extra}]"'
    if "." in module and importlib.util.find_spec(top) is not None:
        return f'"{top}" is there and has no such part: look for another version, or mend the name'
    known = [*sys.stdlib_module_names, *packages_distributions()]
    if near := get_close_matches(top, known, n=1, cutoff=VERY_NEAR):
        return f'did you mean "{near[0]}"? Else install it: pip install {PACKAGES.get(top, top)}'
    return f"install it: pip install {PACKAGES.get(module, PACKAGES.get(top, top))}"


def how_to_mend(error: BaseException) -> str:
    """The fix for user code that raised: the name that was meant, if one is near."""
    near = None
    match error:
        case AttributeError(name=str(name), obj=obj) if obj is not None:
            near = did_you_mean(name, (one for one in dir(obj) if not one.startswith("_")))
        case NameError(name=str(name)):
            near = did_you_mean(name, _names_where(error))
        case TypeError() if found := UNEXPECTED.search(str(error)):
            near = did_you_mean(found[3], _parameters(found[1], found[2]))
        case _:
            pass
    return f"{f'did you mean `{near}`? T' if near else 'mend it; t'}he log has the traceback"


def _names_where(error: BaseException) -> list[str]:
    """The names that the raising code could see."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return []
    frame = traceback.tb_frame
    return [*frame.f_locals, *frame.f_globals, *frame.f_builtins]


def _parameters(cls: str, method: str) -> list[str]:
    known = next((one for one in (Topology, SpoutDeclarer, BoltDeclarer) if one.__name__ == cls), None)
    function = getattr(known, method, None)
    return list(inspect.signature(function).parameters) if function is not None else []
