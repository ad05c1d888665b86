"""The entry point of the function app: refuses wrong settings, sets up the log, registers the functions."""

import os

import azure.durable_functions as df
import azure.functions as func

from functions import logs, triggers
from remediations import settings

logs.configure(in_azure=settings.load(os.environ).is_azure)

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(triggers.bp)
