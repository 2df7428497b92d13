"""A real MLflow server on PostgreSQL with its artifacts in an S3-compatible store, as a team has it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import mlflow
import pandas as pd
import pytest

from gatecast.core.ledger import Ledger
from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package, retention
from gatecast.registry.champion import champion
from gatecast.registry.mlflow import runs, store
from tests.servers import Postgres, free_port, serving

KEYS = {
    **{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    **{"AWS_DEFAULT_REGION": "us-east-1"},
}

LENIENT = {"margin": 0.0, "confidence": 0.5, "max_segment_loss": 9.0}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres(postgres_server: Postgres) -> str:
    """Address of a PostgreSQL with the databases ``mlflow`` and ``ledger``."""
    postgres_server.create("mlflow")
    return postgres_server.create("ledger").rpartition("/")[0]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of an S3-compatible store."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    with serving(port, str(program), "-H", "127.0.0.1", "-p", str(port)):
        address = f"http://127.0.0.1:{port}"
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        store = boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys)
        yield store.create_bucket(Bucket="models")


@pytest.fixture
def server(
    workplace: Path, postgres: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Address of the MLflow server, which this process uses."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"{postgres}/mlflow", "--workers", "1"),
        *("--artifacts-destination", f"s3://{bucket.name}/mlflow"),
    ]
    endpoint = bucket.meta.client.meta.endpoint_url
    with serving(port, *command, **KEYS, MLFLOW_S3_ENDPOINT_URL=endpoint):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("GATECAST_LEDGER_URI", f"{postgres}/ledger")
        yield f"http://127.0.0.1:{port}"


def test_a_team_s_server_takes_a_model_from_training_to_forecast_and_archive(
    server: str,
    bucket: Any,
    workplace: Path,
    tiny: Panel,
    frame: pd.DataFrame,
    promote: Callable[..., dict[str, Any]],
    write_package: Callable[..., str],
) -> None:
    write_package(workplace / "models/linear", tiny, 0.95)
    run_id = runs.ensure(workplace / "models/linear")
    runs.log_panel(run_id, tiny, "training")
    runs.log_card(run_id, "# a card\n" + "x" * 4900)
    assert promote(workplace, tiny, 0.95, **LENIENT)["champion"] == 1
    assert promote(workplace, tiny, 1.0, **LENIENT)["champion"] == 2
    version = store.client().get_model_version("gatecast-tiny", "1")
    assert version.description.startswith("# a card")
    assert not (workplace / "mlflow.db").read_bytes().count(b"gatecast-tiny")  # nothing went there

    mlflow.set_tracking_uri(server)
    found = mlflow.pyfunc.load_model("models:/gatecast-tiny@champion").predict(frame)
    read = panel_of(frame, tiny.meta)
    net = package.load(workplace / "models/linear")
    pd.testing.assert_frame_equal(found, to_table(read, net.predict(read, latest(read))))
    sitting = champion("tiny")
    assert sitting is not None
    assert sitting.version == 2
    verdicts = [e.facts["verdict"] for e in Ledger().entries("promotion", "gatecast-tiny")]
    assert verdicts == ["promoted", "promoted"]

    def stored() -> int:
        return sum(o.key.endswith("weights.safetensors") for o in bucket.objects.all())

    assert stored() == 2
    store.client().delete_registered_model_alias("gatecast-tiny", "previous")
    assert retention.archive("gatecast-tiny", 1)
    assert stored() == 1
    assert retention.plan("gatecast-tiny", 1, {}) == [retention.Step(2, "keep", "it is @champion")]
