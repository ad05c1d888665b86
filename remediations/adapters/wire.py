"""What carries requests to one host of Azure, below every SDK client that takes one."""

import os
from http.cookiejar import DefaultCookiePolicy

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.utils import get_environ_proxies

_CONNECTIONS = 32  # kept open: more than activities run at once
_BLOCK = 256 * 1024  # read at a time, as the store's SDK does over a wire of its own


def wire(url: str, **timeouts: float) -> RequestsTransport:
    """Give what carries requests to one host: whoever shares it shares its connections, which stay open until a client
    that has it is closed.

    What the environment says of proxies and certificates is read once, not at each request; a password in a
    ``.netrc``, which requests would send in place of our token, never is. It keeps no cookie: what one reader was told
    goes with no request of another.

    Args:
        timeouts: ``connection_timeout`` and ``read_timeout``, in seconds, of requests that name none of their own: a
            client that is given its wire does not tell them.
    """
    session = requests.Session()
    session.trust_env = False
    session.proxies = get_environ_proxies(url)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
    authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return RequestsTransport(
        session=session,
        connection_verify=authorities,
        connection_data_block_size=_BLOCK,
        **timeouts,
    )
