"""The function app itself, in a process whose Azure answers from memory; `orchestrated` runs it."""

import os
from pathlib import Path

from benchmarks.subjects import orchestrated, workload
from function_app import app

__all__ = ["app"]

workload.Azure(Path(os.environ[orchestrated.RECORDED])).install()
