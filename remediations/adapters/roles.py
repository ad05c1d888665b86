"""The writes that go through azure-mgmt-authorization: creating a role assignment, and deleting one.

https://learn.microsoft.com/azure/role-based-access-control/role-assignments-rest
"""

import re
from contextlib import suppress

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, DeserializationError
from azure.core.pipeline.policies import ContentDecodePolicy

from remediations import codec
from remediations.adapters.arm import Once, policies, sign_in, timeouts
from remediations.adapters.wire import wire
from remediations.model import Call, Json
from remediations.ports import Reply
from remediations.settings import Settings
from remediations.throttling import Throttle

_ASSIGNMENT = re.compile(
    r"/(?P<scope>subscriptions/(?P<subscription>[^/]+)/[^?#]+)"
    r"/providers/Microsoft\.Authorization/roleAssignments/(?P<name>[^/?#]+)",
    re.IGNORECASE,
)


class RoleWrites:
    """The port `Writes` for PUT and DELETE of ``{scope}/providers/Microsoft.Authorization/roleAssignments/{name}``:
    each is sent once."""

    def __init__(self, settings: Settings, credential: TokenCredential, throttle: Throttle | None = None) -> None:
        self._settings = settings
        self._credential = credential
        self._throttle = throttle or Throttle()

    def ready(self, call: Call) -> None:  # noqa: ARG002 - the port's signature
        import azure.mgmt.authorization  # noqa: F401, PLC0415 - 24 ms

        sign_in(self._settings, self._credential)

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        """Send the call; raises ValueError if it neither creates nor deletes a role assignment, and then nothing was
        sent."""
        from azure.mgmt.authorization import AuthorizationManagementClient  # noqa: PLC0415 - 24 ms

        named = _ASSIGNMENT.fullmatch(call.path)
        is_deletion = call.method == "DELETE" and body is None
        if named is None or not (call.method == "PUT" or is_deletion):
            msg = f"{call} creates no role assignment, and deletes none without a body"
            raise ValueError(msg)
        once = Once(request_id)
        chain = [*policies(self._settings, self._credential, self._throttle), ContentDecodePolicy(), once]
        client = AuthorizationManagementClient(
            self._credential,
            named["subscription"],
            api_version=call.api_version,
            base_url=self._settings.arm_url,
            policies=chain,
            transport=wire(self._settings.arm_url),
        )
        with suppress(AzureError, DeserializationError):  # what came, if anything did, is in the reply
            if is_deletion:
                client.role_assignments.delete(named["scope"], named["name"], **timeouts(self._settings))
            else:
                client.role_assignments.create(
                    named["scope"], named["name"], codec.encode(body), **timeouts(self._settings)
                )
        return once.reply
