"""Writes the table of connectors from their catalogue: `python -m squall.connectors.docs > docs/connectors.md`."""

from __future__ import annotations

from squall.connectors.catalogue import CONNECTORS, Connector

HEAD = """# Connectors

Written from the one catalogue in `python/squall/connectors/catalogue.py` and from what each connector says of itself,
by `python -m squall.connectors.docs > docs/connectors.md`.

`squall connectors` shows the same in a terminal, and what of it is installed; `squall connectors TcpSpout` shows one
whole, with an example that runs. What you write yourself has the same shape:
[Own connector](guides/own-connector.md). Arguments and details: [reference](reference/connectors.md).

- **Guarantee.** *At least once*: nothing is lost, and some may come twice after a failure. A sink acks a row only when
  the other system has confirmed it.
- **Restart.** What is lost, or comes again, when a worker or the whole run dies and another goes on.
- **Tested against.** What its tests run with; nothing stands in for a server that can be started.

| Connector | Kind | System | Guarantee | Order | Restart | Tested against | Needs |
|---|---|---|---|---|---|---|---|
"""


def row(connector: Connector) -> str:
    """One line of the table."""
    says = connector.delivery
    needs = [f'`pip install "squall[{connector.extra}]"`'] if connector.extra else []
    needs += [f"for more: {', '.join(f'`[{one}]`' for one in connector.also)}"] if connector.also else []
    cells = (says.guarantee, says.order, says.restart, says.tested, "; ".join(needs))
    return f"| `{connector.name}` | {connector.kind} | {connector.system} | {' | '.join(cells)} |"


def example(connector: Connector) -> str:
    """The example of one connector."""
    return f"### {connector.name}\n\n```python\n{connector.code()}```\n"


def page() -> str:
    """The whole page."""
    table = "\n".join(map(row, CONNECTORS))
    examples = "\n".join(map(example, CONNECTORS))
    return f"{HEAD}{table}\n\n## Examples\n\n{examples}"


if __name__ == "__main__":
    print(page(), end="")
