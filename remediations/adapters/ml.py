"""The one write that goes through Microsoft's ML SDK: syncing a workspace's keys.

The SDK costs 1.4 s and 60 MB to import, so it is imported when it is first needed.
https://learn.microsoft.com/python/api/azure-ai-ml/azure.ai.ml.operations.workspaceoperations
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from remediations import codec
from remediations.adapters.arm import Once, policies, sign_in, timeouts
from remediations.adapters.wire import wire
from remediations.model import Call, Json
from remediations.ports import Reply
from remediations.settings import Settings
from remediations.throttling import Throttle

SYNC_API_VERSION = "2024-10-01-preview"  # what azure-ai-ml 1.35.2 sends for begin_sync_keys
_SYNC = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace>[^/]+)/resyncKeys",
    re.IGNORECASE,
)
_CLOUD = "AZUREML_CURRENT_CLOUD"
_environment = threading.Lock()


class KeySync:
    """The port `Writes` for ``POST {workspace}/resyncKeys``: sent once and not waited for."""

    def __init__(self, settings: Settings, credential: TokenCredential, throttle: Throttle | None = None) -> None:
        self._settings = settings
        self._credential = credential
        self._throttle = throttle or Throttle()

    def ready(self, call: Call) -> None:  # noqa: ARG002 - the port's signature
        with _kept_environment():
            import azure.ai.ml  # noqa: F401
        sign_in(self._settings, self._credential)

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        """Send the call.

        Raises:
            ValueError: it is not one that the SDK would send as it stands; nothing was sent.
        """
        named = _SYNC.fullmatch(call.path)
        if named is None or (call.method, call.api_version, body) != ("POST", SYNC_API_VERSION, None):
            msg = f"{call} is no key sync with api-version {SYNC_API_VERSION} and without a body"
            raise ValueError(msg)
        once = Once(request_id)
        client = self._client(named["subscription"], named["resource_group"], named["workspace"], once)
        with suppress(AzureError):  # what came, if anything did, is in the reply
            client.workspaces.begin_sync_keys(named["workspace"])
        return once.reply

    def _client(self, subscription: str, resource_group: str, workspace: str, once: Once) -> Any:
        """Give a client that sends by our policies: its own would send up to four times and follow redirects."""
        base = self._settings.arm_url
        cloud = {
            "azure_portal": "",
            "resource_manager": f"{base}/",
            "active_directory": "",
            "aml_resource_id": "",
            "storage_endpoint": "",
            "registry_discovery_endpoint": "",
        }
        with _kept_environment():
            from azure.ai.ml import MLClient

            return MLClient(
                self._credential,
                subscription,
                resource_group,
                workspace,
                cloud=f"Medic-{codec.digest(base)[:12]}",  # the SDK never forgets what it was told of a name
                cloud_metadata=cloud,
                enable_telemetry=False,
                show_progress=False,
                policies=[*policies(self._settings, self._credential, self._throttle), once],
                transport=wire(base, **timeouts(self._settings)),
            )


@contextmanager
def _kept_environment() -> Iterator[None]:
    """Undo that the SDK tells the whole process which cloud it speaks to."""
    with _environment:
        before = os.environ.get(_CLOUD)
        try:
            yield
        finally:
            os.environ.pop(_CLOUD, None)
            if before is not None:
                os.environ[_CLOUD] = before
