"""An Airflow 3 DAG that scores, every ten minutes, each slot of params.yaml's `schedule` that is due.

Copy it into the DAGs folder. gatecast does not have to be installed in Airflow's environment: the command runs in the
project's. `catchup=False`, because gatecast knows which slots are missing, and `mode=due` catches up by itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = "/opt/gatecast"

with DAG(
    dag_id="gatecast_score",
    schedule="*/10 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["gatecast"],
) as dag:
    BashOperator(
        task_id="score",
        bash_command="python pipelines/score.py mode=due",
        cwd=PROJECT,
        env={"PATH": f"{PROJECT}/.venv/bin:/usr/local/bin:/usr/bin:/bin"},
        append_env=True,
        retries=2,
        retry_delay=timedelta(minutes=2),
        execution_timeout=timedelta(hours=6),
    )
