"""The function app with the log that it has in Azure: JSON by `logging`, here one record a line of its output."""

import logging
import sys
from types import SimpleNamespace

import __main__
from functions import logs
from local.worker import load_functions

app = SimpleNamespace(get_functions=lambda: load_functions("function_app"))  # which a process can index only once

WORKERS = {"local.worker", "local.nursery"}  # the host shares its process with tests
if __main__.__spec__ is not None and __main__.__spec__.name in WORKERS:
    load_functions("function_app")  # sets up the log as at home
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
    logs.configure(in_azure=True)
