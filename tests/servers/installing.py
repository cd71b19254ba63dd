"""Gets servers onto a machine: packages of the system, and Java archives by Maven, each of a known checksum.

Archives are kept in `.build/servers`, so that nothing is fetched twice. Long steps are told by `scripts/step`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".build" / "servers"
LOCKS = Path(__file__).parent / "jars"
JAVA = {"java": "default-jre-headless"}
MAVEN = {"mvn": "maven"}
JAVA_AT_LEAST = 17


def program(name: str) -> str | None:
    """Where a command is; daemons are often in folders that are not in PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def packages(wanted: Mapping[str, str]) -> None:
    """Installs the packages of programs that are missing: a program, and its Debian package.

    Raises:
        RuntimeError: there is no apt-get to do it.
    """
    names = sorted(set(wanted.values()))
    if not names:
        return
    if not shutil.which("apt-get"):
        raise RuntimeError(f"missing: {', '.join(sorted(wanted))}; install them (in Debian: {' '.join(names)})")
    root = [] if os.geteuid() == 0 else ["sudo"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    step("asking for the packages of the system", [*root, *quiet, "update"])
    step(f"installing {' '.join(names)}", [*root, *quiet, "install", "-y", "--no-install-recommends", *names])


def java() -> None:
    """Installs Java where it is missing.

    Raises:
        RuntimeError: it is there, but too old.
    """
    if not program("java"):
        packages(JAVA)
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', told)
    if not found or int(found[1]) < JAVA_AT_LEAST:
        raise RuntimeError(f"Java {JAVA_AT_LEAST} or newer is needed; found: {told.splitlines()[0]}")


def archives(name: str, what: str) -> None:
    """Fetches the archives that `jars/NAME.pom.xml` names, with all they need, into `.build/servers/NAME`.

    Raises:
        RuntimeError: they are not those of `jars/NAME.sha256`.
    """
    if has_archives(name):
        return
    java()
    if not program("mvn"):
        packages(MAVEN)
    with _alone():
        if has_archives(name):
            return
        fetched = INSTALLED / f"{name}.part"
        shutil.rmtree(fetched, ignore_errors=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fetched}", "-DincludeScope=runtime"]
        step(f"fetching {what}", ["mvn", "-q", "-B", "-f", str(LOCKS / f"{name}.pom.xml"), *goal])
        check(name, fetched)
        shutil.copy(LOCKS / f"{name}.sha256", fetched)
        shutil.rmtree(INSTALLED / name, ignore_errors=True)
        fetched.rename(INSTALLED / name)


def has_archives(name: str) -> bool:
    """Whether the archives are there, as the list has them now."""
    kept = INSTALLED / name / f"{name}.sha256"
    return kept.exists() and kept.read_bytes() == (LOCKS / f"{name}.sha256").read_bytes()


def check(name: str, folder: Path) -> None:
    """Compares what is in a folder with `jars/NAME.sha256`.

    Raises:
        RuntimeError: an archive is missing, unknown or another one.
    """
    wanted = {line.split()[1]: line.split()[0] for line in (LOCKS / f"{name}.sha256").read_text().splitlines()}
    found = {path.name: sha256(path) for path in folder.iterdir()}
    wrong = sorted(file for file in wanted.keys() | found.keys() if wanted.get(file) != found.get(file))
    if wrong:
        raise RuntimeError(
            f"archives of {name} are not those of tests/servers/jars/{name}.sha256: {', '.join(wrong)}\n"
            f"  fix: rm -r {folder}, and fetch again; to lock others on purpose: python -m servers lock {name}"
        )


def lock(name: str) -> None:
    """Writes `jars/NAME.sha256` anew, of what Maven fetches now."""
    (LOCKS / f"{name}.sha256").write_text("")
    with contextlib.suppress(RuntimeError):
        archives(name, f"what {name} needs")
    fetched = INSTALLED / f"{name}.part"
    lines = sorted(f"{sha256(path)}  {path.name}\n" for path in fetched.iterdir())
    (LOCKS / f"{name}.sha256").write_text("".join(sorted(lines, key=lambda line: line.split()[1])))


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def step(what: str, command: Sequence[str]) -> None:
    """Runs a command that takes long; its output is shown if it fails."""
    subprocess.run([str(ROOT / "scripts" / "step"), "servers", what, *command], check=True, cwd=ROOT / "tests")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
