"""Customers of a telecom, scored in batches by how likely they are to leave; rows that cannot be scored are set aside.

    $ squall run examples/model_scoring.py        # -p input=FILE -p model=FILE -p limit=0.5
    t001    0.32    -
    t003    0.52    call
    not scored: DeadLetter: t023: could not convert string to float: 'n/a'

Shows `process_batch`: columns in, one entry for each row out, where an exception stands for a single row that failed
while the others go on; `batch_max` and `batch_wait`; a model that is loaded once a worker and shared by its tasks
(`context.shared`); a histogram; and the dead letters as a stream, so that nobody has to look for them.
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from squall import Bolt, DeadLetter, Topology, TopologyContext
from squall.connectors.standard import Print

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Model:
    """A logistic regression."""

    bias: float
    weights: dict[str, float]

    @classmethod
    def load(cls, file: Path) -> "Model":
        return cls(**json.loads(file.read_text()))

    def __call__(self, customer: dict[str, str]) -> float:
        z = self.bias + sum(weight * float(customer[name]) for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-z))


class Score(Bolt):
    outputs = ("customer", "probability", "advice")
    batch_max, batch_wait = 32, 0.05

    def __init__(self, model: Path, limit: float) -> None:
        self.file, self.limit = model, limit

    def open(self, context: TopologyContext) -> None:
        self.model = context.shared("model", lambda: Model.load(self.file))
        self.sizes = context.histogram("batch size")

    def process_batch(self, customer: list[dict[str, str]]) -> list[tuple[str, float, str] | DeadLetter]:
        self.sizes.record(len(customer))
        return [self.score(one) for one in customer]

    def score(self, customer: dict[str, str]) -> tuple[str, float, str] | DeadLetter:
        try:
            probability = self.model(customer)
        except ValueError as error:
            return DeadLetter(f"{customer['id']}: {error}")
        return customer["id"], round(probability, 2), "call" if probability >= self.limit else "-"


def unscored(error: str) -> str:
    return f"not scored: {error}"


def build(input: Path = DATA / "telecom.csv", model: Path = DATA / "churn_model.json", limit: float = 0.5) -> Topology:
    topology = Topology("model-scoring")
    customers = topology.spout("customers", lambda: csv.DictReader(input.open(newline="")), outputs=("customer",))
    score = topology.bolt("score", lambda: Score(model, limit), parallelism=2).shuffle(customers)
    lost = topology.bolt("unscored", unscored, outputs=("line",)).shuffle(topology.dead_letters(score))
    topology.bolt("print", Print).shuffle(score).shuffle(lost)
    return topology
