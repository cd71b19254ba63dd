"""`examples/model_scoring.py`: batches, the shared model, rows that cannot be scored."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from model_scoring import Model, build
from squall.testing import LocalCluster


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Leaves with probability ½ after no tickets; each makes it likelier."""
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"bias": 0.0, "weights": {"tickets": 1.0}}))
    return file


def customers(*tickets: object) -> list[dict[str, str]]:
    return [{"id": f"c{number}", "tickets": str(value)} for number, value in enumerate(tickets)]


def feed(cluster: LocalCluster, *tickets: object) -> None:
    cluster.feed("customers", customers(*tickets), ids=range(len(tickets)))
    cluster.run_until_idle()


def batch_sizes(cluster: LocalCluster) -> dict[str, float]:
    return cluster.metrics()["score"]["user"]["batch size"]


def test_the_probability_is_that_of_the_model_and_the_limit_decides_on_the_advice(model: Path) -> None:
    with LocalCluster(build(model=model, limit=0.6), mock_sources={"customers": []}) as cluster:
        feed(cluster, 0, 1, -1)
        cluster.advance(0.05)
        expected = [round(1 / (1 + math.exp(-tickets)), 2) for tickets in (0, 1, -1)]
        rows = {(f"c{i}", p, "call" if p >= 0.6 else "-") for i, p in enumerate(expected)}
        assert set(cluster.emitted("score")) == rows
        assert [advice for _, _, advice in sorted(rows)] == ["-", "call", "-"]


def test_a_batch_waits_until_it_is_full_or_the_time_is_over(model: Path) -> None:
    with LocalCluster(build(model=model), mock_sources={"customers": []}) as cluster:
        feed(cluster, *[1] * 8)
        cluster.advance(0.049)
        assert cluster.emitted("score") == []
        cluster.advance(0.002)
        assert len(cluster.emitted("score")) == 8
        assert batch_sizes(cluster) == {"count": 2, "sum": 8.0}
        feed(cluster, *[1] * 64)
        assert len(cluster.emitted("score")) == 8 + 64
        assert batch_sizes(cluster) == {"count": 4, "sum": 72.0}


def test_a_row_that_cannot_be_scored_fails_alone_and_is_shown(model: Path) -> None:
    with LocalCluster(build(model=model), mock_sources={"customers": []}) as cluster:
        feed(cluster, 1, 1, "many", 1, 1)
        cluster.advance(0.05)
        assert sorted(row[0] for row in cluster.emitted("score")) == ["c0", "c1", "c3", "c4"]
        assert sorted(cluster.acked("customers")) == [0, 1, 3, 4]
        assert cluster.emitted("unscored") == [
            ("not scored: DeadLetter: c2: could not convert string to float: 'many'",)
        ]
        [letter] = cluster.dead_letters()
        assert (letter.attempts, letter.values) == (1, ({"id": "c2", "tickets": "many"},))


def test_the_model_is_loaded_once_for_all_tasks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []
    load = Model.load
    monkeypatch.setattr(Model, "load", lambda file: (loaded.append(file), load(file))[1])
    with LocalCluster(build(model=model), mock_sources={"customers": []}) as cluster:
        cluster.run_until_idle()
        assert cluster.metrics()["score"]["user"]["batch size"]["count"] == 0
    assert loaded == [model]
