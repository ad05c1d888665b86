"""The entry point of the function app: sets up the log and registers the functions, nothing else."""

import azure.durable_functions as df
import azure.functions as func

from functions import logs, triggers

logs.configure()

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(triggers.bp)
