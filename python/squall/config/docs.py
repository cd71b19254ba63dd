"""Writes the settings reference from the table: `python -m squall.config.docs`."""

from __future__ import annotations

from squall.config.table import SETTINGS, Setting

HEAD = """# Settings

Written from the one table in `python/squall/config/table.py` by `python -m squall.config.docs > docs/settings.md`.

Sources, weakest first: default, `squall.yaml` in the current folder (or the file that `SQUALL_CONFIG` names), the
environment (`SQUALL_TOPOLOGY_RETRIES=5`), `-c topology.retries=5`, a component's class attribute, the wiring. A key
marked *component* may be given for one component, *topology* for a topology, *local* only for this machine.

| Key | Default | Unit | Bounds | Scope | Meaning |
|---|---|---|---|---|---|
"""


def row(setting: Setting) -> str:
    """One line of the reference."""
    default = (
        "unset"
        if setting.default is None
        else f"`{str(setting.default).lower() if setting.kind is bool else setting.default}`"
    )
    return (
        f"| `{setting.key}` | {default} | {setting.unit} | {setting.bounds} | {setting.scope.value} | {setting.doc} |"
    )


def page() -> str:
    """The whole reference."""
    return HEAD + "\n".join(row(setting) for setting in SETTINGS.values()) + "\n"


if __name__ == "__main__":
    print(page(), end="")
