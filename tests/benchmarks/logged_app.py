"""The function app with the log that Azure is billed for, on standard error; `incident_cost` runs it."""

import logging
from typing import TextIO, cast

from function_app import app
from functions import logs

__all__ = ["app"]

logs.configure(in_azure=True)
logging.getLogger("endpoint_medic").addHandler(logging.StreamHandler(cast("TextIO", logs._Stderr())))
