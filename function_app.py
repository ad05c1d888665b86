"""The entry point of the function app: registers the blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

from functions import activities, approvals, entities, events, incidents, logs, orchestrators, timers

logs.configure()

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (events, timers, orchestrators, activities, entities, approvals, incidents):
    app.register_functions(module.bp)
