"""Secrets never survive, evidence does, and hostile text costs no more than its length."""

import json
import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediations.redaction import CUT_MARK, EMAIL_MASK, MASK, redact, tail

GUID = "98900f8d-2b01-4ff0-b565-9ed3950a1b2c"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("password=hunter2", f"password={MASK}", id="env"),
        pytest.param("DB_PASSWORD='a b'; next", f"DB_PASSWORD='{MASK}'; next", id="shell"),
        pytest.param("REGISTRY_PWD=a,b&c! x", f"REGISTRY_PWD={MASK} x", id="odd characters"),
        pytest.param("password: hunter2\nuser: me", f"password: {MASK}\nuser: me", id="yaml"),
        pytest.param('{"clientSecret": "a\\"b", "x": 1}', f'{{"clientSecret": "{MASK}", "x": 1}}', id="json"),
        pytest.param('"password":\n  "hunter2"', f'"password":\n  "{MASK}"', id="json over two lines"),
        pytest.param("{'registry-password': 'x y'}", f"{{'registry-password': '{MASK}'}}", id="python"),
        pytest.param(r"{\"password\": \"ab\\\"c\"}", rf"{{\"password\": \"{MASK}\"}}", id="escaped json"),
        pytest.param('"{\\"token\\": \\"abc"', f'"{{\\"token\\": \\"{MASK}"', id="escaped json, cut"),
        pytest.param("os.environ['API_KEY'] = 'abc'", f"os.environ['API_KEY'] = '{MASK}'", id="python item"),
        pytest.param(
            "AccountName=a;AccountKey=Zm9v==;EndpointSuffix=core.windows.net",
            f"AccountName=a;AccountKey={MASK};EndpointSuffix=core.windows.net",
            id="storage connection string",
        ),
        pytest.param(
            "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=abc=",
            f"Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey={MASK}",
            id="service bus connection string",
        ),
        pytest.param(f"InstrumentationKey={GUID};X=1", f"InstrumentationKey={MASK};X=1", id="a GUID that is a key"),
        pytest.param("Server=x;User ID=sa;Password=p;", f"Server=x;User ID=sa;Password={MASK};", id="sql"),
        pytest.param("Authorization: Bearer abc", f"Authorization: {MASK}", id="header"),
        pytest.param('-H "Authorization: Basic YTpi" u', f'-H "Authorization: {MASK}" u', id="header in a command"),
        pytest.param("sent Bearer 0123456789abcdef.x", f"sent Bearer {MASK}", id="bearer in prose"),
        pytest.param(f"got {JWT}.", f"got {MASK}", id="jwt"),
        pytest.param("https://a/c?sv=2&sig=ab%3D&se=9", f"https://a/c?sv=2&sig={MASK}&se=9", id="sas"),
        pytest.param("https://f.net/api/x?code=abc==", f"https://f.net/api/x?code={MASK}", id="function key"),
        pytest.param("https://me:pa:ss@host/x", f"https://me:{MASK}@host/x", id="userinfo"),
        pytest.param(f"a {PEM} b", f"a {MASK} b", id="private key"),
        pytest.param(PEM.replace("\n", "\\n")[:60], MASK, id="private key, cut at the end"),
        pytest.param(f"log: {PEM[40:]}", f"log:{MASK}", id="private key, cut at the beginning"),
        pytest.param("az login --password 'a b' -t x", f"az login --password {MASK} -t x", id="option"),
        pytest.param("by jane.doe+x@contoso.co.uk.", f"by {EMAIL_MASK}.", id="email"),
        pytest.param("x " + "A1b/" * 21 + "Zz== y", f"x {MASK} y", id="a storage key that stands alone"),
        pytest.param("as '1x': dckr_jti_m3ejubTHZ9diqZy6GbB9nt2jvvs=.", f"as '1x': {MASK}.", id="docker token"),
        pytest.param('"key": "0123456789abcdef"', f'"key": "{MASK}"', id="a key that looks like one"),
    ],
)
def test_secrets_are_masked(text, masked):
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"/subscriptions/{GUID}/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/w/jobs/blue",
        f'"correlationId": "{GUID}"',
        f"The client '{GUID}' with object id '{GUID}' does not have authorization to perform action",
        "image myacr.azurecr.io/azureml/env@sha256:" + "0a" * 32,
        '"digest": "sha256:' + "0a" * 32 + '"',
        "azureml:bert-base-uncased:3",
        "(BadArgument) Endpoint identity does not have pull permission on the registry.",
        "failed logging into container registry, token: failed getting ACR token:",
        "Make sure the value of Authorization header is formed correctly including the signature.",
        "Failed to get secret: not found",
        "Access denied due to invalid subscription key",
        "rpc error: code = Unknown desc = unauthorized",
        "exit code=137, status code=403, Code=OperationNotAllowed",
        "max_tokens: 4096, total_tokens=100000",
        "KeyError: 'input_data'",
        "tokenizer: bert-base-uncased",
        "unexpected keyword argument 'tracking_uri'",
        '{"Key": "DownloadFailed"}',
        '"password": null, "secret": ""',
        "password=***",
        "https://aka.ms/oe-tsg#error-outofquota",
        "pip install git+https://github.com/x/y@v1.2.3",
        '"traceId":"00-a95a95afd7040aa9217f2d51d95c71c1-894d1cf3aba15e15-01"',
    ],
)
def test_evidence_is_left_alone(text):
    assert redact(text) == text


BASE64 = string.ascii_letters + string.digits + "+/"
secrets = st.text(BASE64, min_size=20, max_size=90)
surroundings = st.text(max_size=60) | st.lists(
    st.sampled_from(["password=", '"', "'", "\\", "key: ", "eyJ", "Bearer ", ";", "\n", " ", "{", "@x.com", "sig="]),
    max_size=8,
).map("".join)
# What begins in the surroundings must not take the planted form apart: a new line does that for all of them.
forms = st.sampled_from(
    [
        "AccountKey={};",
        "SharedAccessKey={}",
        "password={}",
        "MY_API_KEY={}",
        "client_secret: {}",
        '{{"token": "{}"}}',
        '{{\\"password\\": \\"{}\\"}}',
        "{{'secret': '{}'}}",
        "key={}",
        "Authorization: Bearer {}",
        "Authorization: {}",
        "https://x.net/c?sp=r&sig={}&se=1",
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        "--registry-password {}",
        "Bearer {}",
    ]
)


@example("", "key={}", "/" + "0" * 19, "")
@given(surroundings, forms, secrets, surroundings)
def test_no_planted_secret_survives(before, form, secret, after):
    assert secret not in redact(f"{before}\n{form.format(secret)}\n{after}").replace(after, "").replace(before, "")


@given(secrets)
def test_no_secret_survives_json_however_often_it_is_nested(secret):
    text = json.dumps({"registry": {"password": secret}, "code": "BadArgument"})
    for _ in range(4):
        assert secret not in redact(text)
        assert "BadArgument" in redact(text)
        text = json.dumps({"error": {"message": text}})


@given(surroundings, forms, secrets, surroundings)
def test_redacting_twice_changes_nothing(before, form, secret, after):
    once = redact(before + form.format(secret) + after)
    assert redact(once) == once


@given(st.text())
def test_any_text_can_be_redacted(text):
    assert redact(redact(text)) == redact(text)


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "unit",
    [
        *("a", " ", "\\", "a=", "a@", "a.", "eyJ", "://a:", "key=", 'password="', "password=\n", "--token ", "bearer "),
        *("-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "k               ", "authorization:", "sig=a&"),
        *("secret=\\\"\\\\'x", "A1b/", "?api-key=", "a@b.c1"),
    ],
)
def test_hostile_text_takes_time_in_proportion(unit):
    text = (unit * MEGABYTE)[:MEGABYTE]
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 8


def test_hostile_quotes_take_time_in_proportion():
    text = "".join("token='" + "\\" * length + '"' for length in range(1400))
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 8


class TestTail:
    def test_keeps_what_is_short_enough(self):
        assert tail("a\nb", 3) == "a\nb"

    def test_begins_with_a_whole_line_and_says_that_it_was_cut(self):
        text = "".join(f"line {n:04}\n" for n in range(2000))
        kept = tail(text)
        assert kept.startswith(CUT_MARK + "line ")
        assert kept.endswith("line 1999\n")
        assert 8192 - 10 < len(kept) <= 8192

    def test_cuts_a_long_line_rather_than_dropping_it(self):
        assert tail("x" * 100 + "\n" + "y", 60) == CUT_MARK + "x" * (60 - len(CUT_MARK) - 2) + "\ny"

    @given(st.text(st.characters() | st.sampled_from("é€😀\n\ud800"), max_size=400), st.integers(0, 300))
    def test_never_exceeds_the_limit_and_is_an_end_of_the_text(self, text, limit):
        kept = tail(text, limit)
        assert len(kept.encode("utf-8", "surrogatepass")) <= limit
        assert text.endswith(kept.removeprefix(CUT_MARK))
        assert tail(kept, limit) == kept
