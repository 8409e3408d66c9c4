"""MLflow and Weights & Biases, told of runs by the same few calls."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from typing import Any, ClassVar, Literal, Protocol

Track = Literal["mlflow", "wandb"]
Outcome = Literal["finished", "failed", "stopped"]
Line = Mapping[str, float]

MOST_AT_ONCE = {"params": 100, "metrics": 1000}
"""What MLflow takes in one call."""


class Tracker(Protocol):
    """Where the runs of one group are logged.

    Attributes:
        product: its name.
        remedy: what to do where it cannot be used.
        where: a sentence on how to see the runs.
    """

    product: ClassVar[str]
    remedy: ClassVar[str]
    where: str

    def __init__(self, group: str) -> None:
        """Open it; what is raised says why that cannot be."""

    def begin(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], known: str | None
    ) -> tuple[str, int]:
        """Begin a run, or continue the one whose id is ``known``.

        Returns:
            Its id, and the last step that the tracker has of it, or -1.
        """

    def log(self, run_id: str, lines: Sequence[Line]) -> None:
        """Add lines of a run's history, in the order of their ``step``."""

    def end(self, run_id: str, outcome: Outcome, metrics: Mapping[str, float]) -> None:
        """End a run, with the metrics that it was judged by."""


class MLflow:
    """An MLflow server, or MLflow's database in the current folder."""

    product: ClassVar[str] = "MLflow"
    remedy: ClassVar[str] = "Start its server, or name another one by MLFLOW_TRACKING_URI"

    def __init__(self, group: str) -> None:
        """Connect, and have an experiment of the group's name, or of MLFLOW_EXPERIMENT_NAME."""
        # MLflow reports its use to its makers by itself, and waits minutes for a server.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        mlflow: Any = import_module("mlflow")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._entities: Any = import_module("mlflow.entities")
        address = mlflow.get_tracking_uri()
        # The client adds no user, host or path to a run, which mlflow.start_run does.
        self._client: Any = mlflow.MlflowClient(tracking_uri=address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", group)
        known = self._client.get_experiment_by_name(name)
        self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        if address.startswith("http"):
            self.where = f"Its pages are at {without_password(address)}."
        else:
            pages = "" if _is_installed("mlflow") else "pip install mlflow && "
            self.where = (
                f"To see them: `{pages}mlflow ui --backend-store-uri '{without_password(address)}'`"
            )

    def begin(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], known: str | None
    ) -> tuple[str, int]:
        """Begin or continue a run; its history in MLflow says how far that has got."""
        if known is not None and (run := self._run(known)) is not None:
            self._client.update_run(known, status="RUNNING")
            steps = (
                point.step
                for metric in run.data.metrics
                for point in self._client.get_metric_history(known, metric)
            )
            return known, max(steps, default=-1)
        run = self._client.create_run(self._experiment, tags=dict(tags), run_name=name)
        given = [self._entities.Param(legal_name(key), str(params[key])) for key in params]
        self._log(run.info.run_id, params=given)
        return run.info.run_id, -1

    def log(self, run_id: str, lines: Sequence[Line]) -> None:
        """Add lines."""
        now = int(1000 * time.time())
        points = [
            self._entities.Metric(legal_name(name), value, now, int(line["step"]))
            for line in lines
            for name, value in line.items()
            if name != "step"
        ]
        self._log(run_id, metrics=points)

    def end(self, run_id: str, outcome: Outcome, metrics: Mapping[str, float]) -> None:
        """End a run."""
        status = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}[outcome]
        now = int(1000 * time.time())
        points = [
            self._entities.Metric(legal_name(name), metrics[name], now, 0) for name in metrics
        ]
        self._log(run_id, metrics=points)
        self._client.set_terminated(run_id, status=status)

    def _run(self, run_id: str) -> Any:
        """A run of that id; None where somebody deleted it, or on another server."""
        exceptions: Any = import_module("mlflow.exceptions")
        try:
            run = self._client.get_run(run_id)
        except exceptions.MlflowException as problem:
            if problem.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _log(self, run_id: str, **kind: list[Any]) -> None:
        for name, entries in kind.items():
            for start in range(0, len(entries), MOST_AT_ONCE[name]):
                part = entries[start : start + MOST_AT_ONCE[name]]
                self._client.log_batch(run_id, **{name: part})


class Wandb:
    """Weights & Biases, its server or a folder to synchronise later (``WANDB_MODE=offline``)."""

    product: ClassVar[str] = "Weights & Biases"
    remedy: ClassVar[str] = "Run `wandb login`, set WANDB_MODE=offline"

    def __init__(self, group: str) -> None:
        """Check that a server knows this user, unless it is to work offline."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self._wandb: Any = import_module("wandb")
        self._group = group
        self._runs: dict[str, Any] = {}
        if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
            self.where = "To send them: `wandb sync wandb/offline-run-*`"
            return
        if not self._wandb.login(prompt=False):
            raise ValueError("there is no key of a user")
        self.where = "They are on its pages."

    def begin(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], known: str | None
    ) -> tuple[str, int]:
        """Begin or continue a run. Offline each part has the whole history: a later one replaces
        what an earlier one sent."""
        run_id = known or uuid.uuid4().hex
        quiet = self._wandb.Settings(
            console="off",
            disable_git=True,
            finish_timeout=30.0,
            host="",
            init_timeout=30.0,
            save_code=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        run = self._runs[run_id] = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "angioray"),
            group=self._group,
            id=run_id,
            name=name,
            config={**params, "tags": dict(tags)},
            resume="allow",
            reinit="create_new",
            settings=quiet,
        )
        return run_id, run.step - 1

    def log(self, run_id: str, lines: Sequence[Line]) -> None:
        """Add lines; W&B sends them in the background."""
        for line in lines:
            values = {name: value for name, value in line.items() if name != "step"}
            self._runs[run_id].log(values, step=int(line["step"]))

    def end(self, run_id: str, outcome: Outcome, metrics: Mapping[str, float]) -> None:
        """End a run."""
        run = self._runs.pop(run_id)
        run.summary.update(dict(metrics))
        run.finish(exit_code=0 if outcome == "finished" else 1)


TRACKERS: dict[Track, type[Tracker]] = {"mlflow": MLflow, "wandb": Wandb}


def legal_name(name: str) -> str:
    """A metric's or a setting's name as MLflow takes it: ``AP@IoU0.20`` is ``AP_at_IoU0.20``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


def without_password(text: str) -> str:
    """``text`` without the user and the password that an address in it may hold."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
