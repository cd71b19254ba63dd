"""`squall explain`: the page of an error code."""

from __future__ import annotations

from importlib import resources

from squall.errors import ConfigError, Defect, did_you_mean


def pages() -> dict[str, str]:
    """Every page, by code."""
    folder = resources.files("squall") / "explained"
    return {
        file.name.removesuffix(".md"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".md")
    }


def explain_code(code: str) -> None:
    """Prints the page of a code.

    Raises:
        ConfigError: `code_unknown`.
    """
    known = pages()
    if code not in known:
        near = did_you_mean(code, known)
        fix = f'did you mean "{near}"?' if near else "codes stand at the end of error messages"
        raise ConfigError(Defect("code_unknown", f'there is no error code "{code}"', (), fix))
    print(known[code].rstrip())
