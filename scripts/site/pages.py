"""The pages of the site: which files they are, how their links lead to each other, what a built page may load.

Pages stay where their readers look for them first: error pages in the package, the README at the top. The site takes
them from there; a copy under `docs/` would be a second truth. A link is written as it works in the repository, and is
turned into one that works on the site.

Pages are gathered in a folder before the site is built. MkDocs' hooks could do it as well, but then nothing but MkDocs
could build the site.

    python scripts/site/pages.py gather .build/pages
    python scripts/site/pages.py check site
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
ERRORS = "python/squall/explained"
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples/README.md",
}
"""Files that are pages though they are not below `docs`: where they are, and where the site has them."""
ERROR_INDEX = "errors/README.md"

FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def error_pages() -> dict[str, str]:
    """The pages of the error codes: path in the repository → path on the site."""
    return {f"{ERRORS}/{page.name}": f"errors/{page.name}" for page in sorted((ROOT / ERRORS).glob("*.md"))}


def outside_pages() -> dict[str, str]:
    """The documents that are not below `docs`: path in the repository → path on the site."""
    return OUTSIDE | error_pages()


def example_pages() -> dict[str, str]:
    """The examples, each as a page that shows it: path in the repository → path on the site."""
    return {f"examples/{file.name}": f"examples/{file.stem}.md" for file in sorted((ROOT / "examples").glob("*.py"))}


def example_page(path: str) -> str:
    """A page that shows one example."""
    code = (ROOT / path).read_text(encoding="utf-8")
    return f"# {posixpath.basename(path)}\n\n```python\n{code}```\n"


def error_index() -> str:
    """The list of all error codes, each with the first line of its page."""
    rows = ["# Errors", "", "Every error ends with a code. `squall explain CODE` prints the same page.", ""]
    rows += ["| Code | What happened |", "|---|---|"]
    for path in error_pages():
        code = Path(path).stem
        first = (ROOT / path).read_text(encoding="utf-8").split("\n\n")[1].replace("\n", " ").replace("|", "\\|")
        rows.append(f"| [`{code}`]({code}.md) | {first} |")
    return "\n".join(rows) + "\n"


def in_repository(page: str) -> str:
    """Where a page of the site stands in the repository."""
    by_page = {there: here for here, there in outside_pages().items()}
    return by_page.get(page, f"docs/{page}")


def on_site(path: str) -> str | None:
    """Where the site has a file of the repository; None if it has it not. A folder stands for its README."""
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return (outside_pages() | example_pages()).get(path)


def text_between_fences(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces: (whether it is a block of code, piece)."""
    at = 0
    for fence in FENCE.finditer(text):
        yield False, text[at : fence.start()]
        yield True, fence[0]
        at = fence.end()
    yield False, text[at:]


def for_site(text: str, page: str) -> str:
    """The text of a page with its links as they work on the site; one to a file that is no page is its text only.

    Raises:
        ValueError: a link leads nowhere in the repository.
    """
    folder = posixpath.dirname(in_repository(page))

    def relinked(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if not target or ":" in target:
            return link[0]
        here = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / here).exists():
            raise ValueError(f"{page}: the link {target} leads nowhere")
        there = on_site(here)
        return f"[{text}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})" if there else text

    return "".join(piece if code else LINK.sub(relinked, piece) for code, piece in text_between_fences(text))


LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADED_BY |= {"embed": "src", "object": "data"}
LOADING_LINKS = {"stylesheet", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "icon", "manifest"}
FOREIGN = re.compile(r"(?:https?:)?//", re.IGNORECASE)
CSS_LOAD = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)


class Loads(HTMLParser):
    """Collects what a page has a browser load from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Looks at one tag."""
        named = {name: value or "" for name, value in attrs}
        address = named.get(LOADED_BY.get(tag, ""), "")
        if tag == "link" and LOADING_LINKS & set(named.get("rel", "").lower().split()):
            address = named.get("href", "")
        if FOREIGN.match(address.strip()):
            self.foreign.append(address)
        self.foreign += CSS_LOAD.findall(named.get("style", ""))


def foreign_loads(html: str) -> list[str]:
    """The addresses on other hosts that a browser would load to show a page; links to follow are none."""
    loads = Loads()
    loads.feed(html)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL | re.IGNORECASE)
    return loads.foreign + foreign_in_css("".join(styles))


def foreign_in_css(css: str) -> list[str]:
    """The addresses on other hosts that a style sheet loads."""
    return CSS_LOAD.findall(css)


def gather(folder: Path) -> None:
    """Writes all pages into a folder, with links as they work on the site."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for here, there in outside_pages().items():
        (folder / there).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / here, folder / there)
    (folder / ERROR_INDEX).write_text(error_index(), encoding="utf-8")
    for here, there in example_pages().items():
        (folder / there).write_text(example_page(here), encoding="utf-8")
    for page in folder.rglob("*.md"):
        name = page.relative_to(folder).as_posix()
        if name != ERROR_INDEX:
            page.write_text(for_site(page.read_text(encoding="utf-8"), name), encoding="utf-8")


def defects_of(site: Path) -> Iterator[str]:
    """What is wrong with a built site."""
    for path in site.rglob("*"):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            for address in foreign_loads(text) if path.suffix == ".html" else foreign_in_css(text):
                yield f"{path.relative_to(site)} loads {address} from another host"
            if "<p>:::" in text:
                yield f"{path.relative_to(site)} shows a docstring's place in place of the docstring"


def main(order: str, folder: Path) -> int:
    """Gathers or checks; the exit code."""
    if order == "gather":
        gather(folder)
        return 0
    if not (folder / "index.html").exists():
        print(f"there is no site in {folder}", file=sys.stderr)
        return 1
    defects = list(defects_of(folder))
    print("\n".join(defects), end="\n" if defects else "", file=sys.stderr)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
