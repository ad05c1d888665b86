"""The queries of `infra/kql`: what Kusto says of them, and what they give of rows that a test makes up.

Two readers, neither of which is Azure: Microsoft's language service binds a query to the columns of its tables, and
duckdb-kql runs it.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import duckdb_kql

ROOT = Path(__file__).parents[2]
KQL = ROOT / "infra/kql"
SERVICE = ROOT / ".tools/kusto/node_modules/@kusto/language-service-next"

# Columns by Microsoft's reference, those of the app's own log and of what it costs.
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces, …/usage
TABLES = {
    "AppTraces": """TimeGenerated: datetime, Message: string, SeverityLevel: int, Properties: dynamic,
        Measurements: dynamic, OperationId: string, OperationName: string, ParentId: string, AppRoleName: string,
        AppRoleInstance: string, AppVersion: string, SDKVersion: string, ItemCount: int, Type: string,
        _ResourceId: string, _BilledSize: real, _IsBillable: string""",
    "Usage": """TimeGenerated: datetime, StartTime: datetime, EndTime: datetime, DataType: string, Solution: string,
        Quantity: real, QuantityUnit: string, IsBillable: bool, ResourceUri: string, Type: string""",
}
_SQL = {"datetime": "TIMESTAMP", "string": "VARCHAR", "int": "INTEGER", "real": "DOUBLE", "bool": "BOOLEAN"}


def texts() -> dict[str, str]:
    """Give all queries by name."""
    return {path.stem: path.read_text("utf-8") for path in sorted(KQL.glob("*.kql"))}


def complaints(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Give what Kusto's language service says against each query."""
    assert SERVICE.exists(), "Kusto's language service is not installed: run `make setup`"
    asked = json.dumps({"tables": TABLES, "queries": dict(queries)})
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("kusto.cjs")), str(SERVICE)],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[str]] = json.loads(done.stdout)
    assert set(answers) == set(queries)
    return answers


class Workspace:
    """A Log Analytics workspace in memory."""

    def __init__(self) -> None:
        self._tables = duckdb_kql.connect()
        for name, columns in TABLES.items():
            typed = [column.split(":") for column in columns.replace("\n", " ").split(",")]
            fields = ", ".join(f'"{field.strip()}" {_SQL.get(kind.strip(), "VARCHAR")}' for field, kind in typed)
            self._tables.execute(f"CREATE TABLE {name} ({fields})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tables.close()

    def log(self, *messages: str, ago: timedelta = timedelta()) -> Self:
        """Take lines of the app's log as the host exports them."""
        at = datetime.now(UTC).replace(tzinfo=None) - ago
        for message in messages:
            self._tables.execute("INSERT INTO AppTraces (TimeGenerated, Message) VALUES (?, ?)", [at, message])
        return self

    def tell(self, event: str, *, ago: timedelta = timedelta(), **keys: Any) -> Self:
        """Take one line with these keys."""
        return self.log(json.dumps({**keys, "event": event, "level": "info"}), ago=ago)

    def use(self, rows: Iterable[tuple[str, float, bool]]) -> Self:
        """Take rows of the table Usage: what was logged, how much of it, and whether it is billed."""
        for row in rows:
            self._tables.execute("INSERT INTO Usage (DataType, Quantity, IsBillable) VALUES (?, ?, ?)", list(row))
        return self

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Give what a query gives."""
        found = duckdb_kql.query(self._tables, query)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
