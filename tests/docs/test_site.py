"""The site: its navigation and links are whole, its reference is complete, its pages load nothing from elsewhere.

`make docs` builds it; what can be wrong before that is found here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import squall
import yaml
from squall import Bolt, Component, Spout, Topology
from squall.connectors import files, http, kafka, redis, sql, standard, tcp, udp, unix

from .documents import ROOT

REFERENCE = sorted((ROOT / "docs/reference").glob("*.md"))
SHOWN = re.compile(r"^::: (\S+)$", re.MULTILINE)


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts/site"))
    try:
        return importlib.import_module(name)
    finally:
        del sys.path[0]


PAGES: Any = script("pages")
COMMANDS: Any = script("commands")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each page, as the site is built of it."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    PAGES.gather(folder)
    return {page.relative_to(folder).as_posix(): page.read_text(encoding="utf-8") for page in folder.rglob("*.md")}


def in_navigation(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for below in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from in_navigation(below)


def test_navigation_leads_to_every_page_and_to_nothing_else(site: dict[str, str]) -> None:
    """Error pages, decisions and examples are reached from their lists."""
    listed = Counter(in_navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert max(listed.values()) == 1
    assert listed.keys() - site.keys() == set()
    left = {page for page in site.keys() - listed.keys() if not page.startswith(("errors/", "decisions/", "examples/"))}
    assert left == set()


def anchors_of(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


def test_every_link_of_every_page_leads_somewhere(site: dict[str, str]) -> None:
    broken: list[str] = []
    links = 0
    for page, text in site.items():
        for is_code, piece in PAGES.text_between_fences(text):
            for link in [] if is_code else PAGES.LINK.finditer(piece):
                target, anchor = link[2], (link[3] or "").removeprefix("#")
                if "://" in target:
                    continue
                links += 1
                there = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
                if there not in site and not (ROOT / "docs" / there).is_file():
                    broken.append(f"{page}: {target}")
                elif anchor and anchor not in anchors_of(site[there]):
                    broken.append(f"{page}: {target}#{anchor}")
    assert broken == []
    assert links > len(list((ROOT / PAGES.ERRORS).glob("*.md")))


def test_a_link_is_turned_into_one_that_works_on_the_site() -> None:
    assert PAGES.for_site("[a](docs/settings.md#x)", "index.md") == "[a](settings.md#x)"
    assert PAGES.for_site("[a](docs/decisions/)", "index.md") == "[a](decisions/README.md)"
    assert PAGES.for_site("[a](../../ARCHITECTURE.md)", "guides/tuning.md") == "[a](../architecture.md)"
    assert PAGES.for_site("[a](word_count.py)", "examples/README.md") == "[a](word_count.md)"
    error = "../../python/squall/explained/name_twice.md"
    assert PAGES.for_site(f"[a]({error})", "guides/tuning.md") == "[a](../errors/name_twice.md)"
    assert PAGES.for_site("```\n[a](docs/settings.md)\n```", "index.md") == "```\n[a](docs/settings.md)\n```"


def test_a_link_to_a_file_that_is_no_page_is_its_text() -> None:
    assert PAGES.for_site("see [the tests](../tests/docs), all", "examples/README.md") == "see the tests, all"


def test_a_link_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match=r"index\.md: the link Nowhere\.md leads nowhere"):
        PAGES.for_site("[a](Nowhere.md)", "index.md")


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/x.css">',
        '<link href="https://fonts.example" rel="preconnect" crossorigin>',
        '<img alt="" src=HTTP://example.org/x.png>',
        "<style>@import 'https://fonts.example/x.css';</style>",
        '<p style="background: url(https://example.org/x.png)">',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html: str) -> None:
    assert len(PAGES.foreign_loads(html)) == 1


def test_links_to_follow_load_nothing() -> None:
    html = '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org"><script src="a.js">'
    assert PAGES.foreign_loads(html) == []


def test_a_site_that_loads_from_elsewhere_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>")
    assert PAGES.main("check", tmp_path) == 0
    (tmp_path / "style.css").write_text("@font-face { src: url('https://fonts.example/x.woff2') }")
    assert PAGES.main("check", tmp_path) == 1


def shown() -> Counter[str]:
    return Counter(name for page in REFERENCE for name in SHOWN.findall(page.read_text(encoding="utf-8")))


def public() -> set[str]:
    names = {f"squall.{name}" for name in squall.__all__}
    names |= {"squall.testing.LocalCluster", "squall.testing.complete_topology"}
    for module in (standard, tcp, udp, unix):
        own = [
            value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        names |= {f"{module.__name__}.{value.__name__}" for value in own}
    for package in (files, http, kafka, redis, sql, tcp):
        names |= {f"{package.__name__}.{name}" for name in package.__all__ if inspect.isclass(getattr(package, name))}
    return names


def test_every_public_name_is_in_the_reference_once() -> None:
    assert max(shown().values()) == 1
    assert public() - shown().keys() == set()


@pytest.mark.parametrize("name", sorted(shown()))
def test_what_the_reference_shows_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


def test_page_of_the_commands_is_what_their_help_says() -> None:
    assert (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8") == COMMANDS.page()


def table(page: str, title: str) -> dict[str, list[str]]:
    """A table by the names in its first column (a cell may name several)."""
    text = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    rows = text.partition(f"| {title} |")[2].partition("\n\n")[0].splitlines()[2:]
    found: dict[str, list[str]] = {}
    for row in rows:
        first, *rest = re.split(r"(?<!\\) \| ", row.strip("| "))
        found |= {name: rest for name in re.findall(r"`(\w+)[^`]*`", first)}
    return found


@pytest.mark.parametrize(("kind", "title"), [(Bolt, "Attribute of a bolt"), (Spout, "Attribute of a spout")])
def test_attributes_and_their_defaults_are_those_of_the_class(kind: type, title: str) -> None:
    defaults = {
        name: getattr(kind, name) for base in (Component, kind) for name in base.__annotations__ if hasattr(kind, name)
    }
    told = {name: ast.literal_eval(cells[0].strip("`")) for name, cells in table("components.md", title).items()}
    assert told == defaults


def methods_for_users(class_name: str) -> set[str]:
    """What `components.py` declares for type checkers: the methods that a subclass may define."""
    tree = ast.parse((ROOT / "python/squall/api/components.py").read_text(encoding="utf-8"))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    declared = [one for node in body if isinstance(node, ast.If) for one in node.body]
    names = {one.name for one in declared if isinstance(one, ast.FunctionDef)}
    return names | {
        one.target.id for one in declared if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }


@pytest.mark.parametrize(("kind", "title"), [("Bolt", "Method"), ("Spout", "Method")])
def test_methods_are_those_that_a_subclass_may_define(kind: str, title: str) -> None:
    wanted = (methods_for_users("Component") | methods_for_users(kind)) - {"context"}
    text = (ROOT / "docs/reference/components.md").read_text(encoding="utf-8")
    part = text.partition(f"**A {kind.lower()} may define**")[2].partition("\n\n**")[0].partition("| Attribute")[0]
    cells = [row.split(" | ")[0] for row in part.splitlines() if row.startswith("| `")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)\(", cell)} == wanted


def test_wiring_arguments_are_those_of_spout_and_bolt() -> None:
    for method in (Topology.spout, Topology.bolt):
        parameters = inspect.signature(method).parameters.values()
        wanted = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
        assert table("topology.md", "Argument of `spout` and `bolt`").keys() == wanted


def test_what_can_be_asked_of_a_tuple_is_what_it_has() -> None:
    has = {name for name in dir(squall.Tuple) if not name.startswith("_")}
    assert table("components.md", "Of a tuple").keys() == has
