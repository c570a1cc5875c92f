"""A real Trino with its Hive connector over a file metastore and ALB files in S3 (moto). Fetched once, by coordinates.

Trino 435 is the last that runs on Java 17. Its parts are fetched, not the whole server archive: the engine, and the
Hive connector with S3 of its own, so that nothing of Hadoop is needed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from oomscope.alb.ddl import COLUMNS, PATTERN
from tests.fakes.athena_sql import Result, as_text

HERE = Path(__file__).parent
VERSION = "435"
HOME = HERE.parent.parent / "build" / f"trino-{VERSION}"
START_S = 240.0
SCHEMA = "logs"

_CONFIG = """\
coordinator=true
node-scheduler.include-coordinator=true
node.environment=test
node.internal-address=127.0.0.1
node.bind-ip=127.0.0.1
http-server.http.port={port}
discovery.uri=http://127.0.0.1:{port}
plugin.dir={home}/plugin
catalog.config-dir={folder}/catalog
query.max-memory-per-node=300MB
memory.heap-headroom-per-node=200MB
"""
_HIVE = """\
connector.name=hive
hive.metastore=file
hive.metastore.catalog.dir=s3://metastore/
hive.security=allow-all
hive.partition-projection-enabled=true
fs.hadoop.enabled=false
fs.native-s3.enabled=true
s3.endpoint={s3}
s3.path-style-access=true
s3.region=us-east-1
s3.aws-access-key=test
s3.aws-secret-key=test
"""


class TrinoError(Exception):
    """What the server says of a statement that failed."""


@dataclass(frozen=True)
class Trino:
    """Its address. Call it with a statement and parameters, as Athena takes them."""

    url: str

    def __call__(self, statement: str, parameters: Sequence[str] = ()) -> Result:
        """Run the statement, unchanged, with the parameters as SQL."""
        if not parameters:
            return self._run(statement, {})
        prepared = {"X-Trino-Prepared-Statement": f"asked={quote_plus(statement)}"}
        return self._run(f"EXECUTE asked USING {', '.join(parameters)}", prepared)

    def _run(self, text: str, headers: dict[str, str]) -> Result:
        told = {"X-Trino-User": "test", "X-Trino-Catalog": "hive", "X-Trino-Schema": SCHEMA, **headers}
        answer = _get(urllib.request.Request(f"{self.url}/v1/statement", text.encode(), told))
        names, rows = list[str](), list[list[str | None]]()
        while True:
            if "error" in answer:
                raise TrinoError(answer["error"]["message"])
            names = [column["name"] for column in answer.get("columns", [])] or names
            rows += [[as_text(value) for value in row] for row in answer.get("data", [])]
            if "nextUri" not in answer:
                return Result(names, rows, int(answer["stats"].get("physicalInputBytes", 0)))
            answer = _get(urllib.request.Request(answer["nextUri"]))


def _get(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def fetch() -> None:
    """Bring Trino's parts into ``build/``. Raises ``RuntimeError`` with the reason when they cannot be had."""
    if (HOME / "complete").exists():
        return
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is not installed: Trino {VERSION} needs a JDK 17 and Maven")
    command = ["mvn", "-B", "-q", "-f", str(HERE / "pom.xml"), "package", f"-Dout={HOME}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"fetching Trino {VERSION} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    (HOME / "complete").touch()


@contextlib.contextmanager
def trino(folder: Path, s3: str) -> Iterator[Trino]:
    """Start it beside that S3; ready when it answers."""
    fetch()
    port = _free_port()
    (folder / "catalog").mkdir()
    (folder / "config.properties").write_text(_CONFIG.format(port=port, home=HOME, folder=folder))
    (folder / "catalog" / "hive.properties").write_text(_HIVE.format(s3=s3))
    command = [
        "java", "-Xmx1G", "-XX:+UseG1GC", "-Djdk.attach.allowAttachSelf=true", "-Dlog.enable-console=true",
        f"-Dconfig={folder}/config.properties", "-cp", f"{HOME}/lib/*", str(HERE / "Launch.java"), VERSION,
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}", server, folder / "server.log")
        yield Trino(f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if _get(urllib.request.Request(f"{url}/v1/info"))["starting"] is False:
                return
        time.sleep(0.5)
    errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    raise RuntimeError(f"Trino did not start: {errors[:3]}")


def create_table(name: str, place: str, pattern: str = PATTERN, columns: Sequence[Any] = COLUMNS) -> str:
    """The definition of ``oomscope alb ddl`` in Trino's words: the metastore holds the same properties after it."""
    kinds = {"string": "varchar", "int": "integer"}
    told = ", ".join(f'"{column}" {kinds.get(kind, kind)}' for column, kind in columns)
    quoted = pattern.replace("'", "''")
    return f"""CREATE TABLE hive.{SCHEMA}.{name} ({told},
  "day" varchar WITH (
    partition_projection_type = 'DATE', partition_projection_range = ARRAY['2022/01/01', 'NOW'],
    partition_projection_format = 'yyyy/MM/dd', partition_projection_interval = 1,
    partition_projection_interval_unit = 'DAYS')
) WITH (
  format = 'REGEX', regex = '{quoted}', external_location = '{place}/', partitioned_by = ARRAY['day'],
  partition_projection_enabled = true, partition_projection_location_template = '{place}/${{day}}')"""
