"""What Azure answers to a write is kept without what it may repeat of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from remediations.adapters.arm import ArmWrites, StaticToken
from remediations.settings import Settings
from tests.builders import make_call

ECHO = (
    "Invalid value: password=Pa55-w0rd-x, owner ada@contoso.com, https://st.blob.core.windows.net/a?sig=c2VjcmV0LXNpZw"
)


class Refusing(BaseHTTPRequestHandler):
    """Answers every write with an error that repeats what was sent."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"error": {"code": "BadRequest", "message": ECHO}}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_error_that_repeats_what_was_sent_is_kept_without_secrets(refusing):
    writes = ArmWrites(Settings(arm_url=refusing, arm_token="sim-medic"), StaticToken("sim-medic"))
    reply = writes.send(make_call(), {"location": "westeurope"}, request_id="medic-1")
    assert reply.status == 400
    assert [detail.code for detail in reply.errors] == ["BadRequest"]
    said = reply.errors[0].message
    assert said.startswith("Invalid value: password=<redacted>")
    for secret in ("Pa55-w0rd-x", "ada@contoso.com", "c2VjcmV0LXNpZw"):
        assert secret not in said
