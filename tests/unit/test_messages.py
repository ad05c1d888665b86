"""Every rendering of an error that reaches us gives the same details; no text breaks or slows the parser."""

import collections
import inspect
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations import messages
from remediations.messages import anchors, deepest, parse, parse_redacted
from remediations.model import ErrorDetail

QUOTA = "Not enough quota available for Standard_F4s_v2 in SubscriptionId x. Current usage/limit: 0/6."
ARM = {
    "status": "Failed",
    "error": {
        "code": "ResourceDeploymentFailure",
        "message": "The resource operation completed with terminal provisioning state 'Failed'.",
        "details": [{"code": "BadArgument", "message": "Image does not exist."}],
    },
}


def told(text_or_json):
    return [(detail.depth, detail.code, detail.message) for detail in parse(text_or_json)]


ARM_TOLD = [
    (1, "BadArgument", "Image does not exist."),
    (0, "ResourceDeploymentFailure", "The resource operation completed with terminal provisioning state 'Failed'."),
]


@pytest.mark.parametrize(
    "rendering",
    [
        pytest.param(ARM, id="decoded"),
        pytest.param(ARM["error"], id="the error alone"),
        pytest.param(json.dumps(ARM), id="activity log string"),
        pytest.param(json.dumps(json.dumps(ARM)), id="encoded twice"),
        pytest.param(json.dumps(ARM).encode(), id="bytes"),
        pytest.param(repr(json.dumps(ARM).encode()), id="printed bytes"),
        pytest.param({"properties": {"statusMessage": json.dumps(ARM)}}, id="activity log row"),
        pytest.param(
            {
                "Code": "ResourceDeploymentFailure",
                "Message": "The resource operation completed with terminal provisioning state 'Failed'.",
                "Target": None,
                "Details": [
                    {"Code": "BadArgument", "Message": "Image does not exist."},
                    {"Message": "Image does not exist."},
                    {"Code": "BadArgument"},
                ],
                "Innererror": None,
            },
            id="pascal case, told three times",
        ),
        pytest.param(repr(ARM["error"]), id="python repr"),
        pytest.param(
            "(ResourceDeploymentFailure) The resource operation completed with terminal provisioning state 'Failed'.\n"
            "Code: ResourceDeploymentFailure\n"
            "Message: The resource operation completed with terminal provisioning state 'Failed'.\n"
            "Exception Details:\t(BadArgument) Image does not exist.\n"
            "\tCode: BadArgument\n"
            "\tMessage: Image does not exist.",
            id="sdk",
        ),
        pytest.param(
            "\x1b[31m2024-01-02T03:04:05.1234567Z ERROR: (ResourceDeploymentFailure) The resource operation completed "
            "with terminal provisioning state 'Failed'.\x1b[0m\n"
            "2024-01-02T03:04:05.1234567Z Code: ResourceDeploymentFailure\n"
            "2024-01-02T03:04:06.1234567Z ##[error]Exception Details:\t(BadArgument) Image does not exist.",
            id="ci log",
        ),
    ],
)
def test_one_failure_is_read_from_every_rendering(rendering):
    assert told(rendering) == ARM_TOLD


@pytest.mark.parametrize("times", range(5))
def test_a_message_may_hold_json_that_was_encoded_again_and_again(times):
    text = json.dumps(ARM)
    for _ in range(times):
        text = json.dumps({"error": {"code": "Outer", "message": text}})
    inner = parse(text)[0]
    assert (inner.code, inner.message) == ("BadArgument", "Image does not exist.")


@pytest.mark.parametrize(
    ("text", "details"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" \n{}", [], id="nothing but brackets"),
        pytest.param(None, [], id="null"),
        pytest.param("Something broke", [(0, None, "Something broke")], id="prose"),
        pytest.param("(BadArgument) No image.", [(0, "BadArgument", "No image.")], id="code in parentheses"),
        pytest.param("BadArgument: No image.", [(0, "BadArgument", "No image.")], id="leading code"),
        pytest.param("(None) OutOfQuota: No cores.\nCode: None", [(0, "OutOfQuota", "No cores.")], id="code None"),
        pytest.param(
            "Code: None\n\tMessage: ResourceNotFound: No image.",
            [(0, "ResourceNotFound", "No image.")],
            id="None block",
        ),
        pytest.param(
            {"error": {"code": None, "message": "OutOfQuota: No cores."}},
            [(0, "OutOfQuota", "No cores.")],
            id="null code",
        ),
        pytest.param("No entry. Code: UserError", [(0, "UserError", "No entry.")], id="code at the end"),
        pytest.param(
            "It ended badly. (Code: ResourceDeploymentFailure, Target: /subscriptions/x)",
            [(0, "ResourceDeploymentFailure", "It ended badly. (")],
            id="code in brackets at the end",
        ),
        pytest.param(
            "ResourceOperationFailure: Resource provider [N/A] isn't registered with Subscription [N/A].",
            [(0, "ResourceOperationFailure", "Resource provider [N/A] isn't registered with Subscription [N/A].")],
            id="studio",
        ),
        pytest.param(
            'Status=409 Code="OperationNotAllowed" Message="No cores."',
            [(0, None, "Status=409"), (0, "OperationNotAllowed", "No cores.")],
            id="autorest",
        ),
        pytest.param(
            "<Error><Code>ConflictError</Code><Message>In use.</Message></Error>",
            [(0, "ConflictError", "In use.")],
            id="xml",
        ),
        pytest.param(
            f'{{"errors":{{"VmSize":["{QUOTA}"]}},"title":"One or more validation errors occurred.","status":400}}',
            [(1, None, f"VmSize: {QUOTA}")],
            id="validation errors",
        ),
        pytest.param(
            f'***"errors":***"":["{QUOTA}"]***,"title":"One or more validation errors occurred."***',
            [(0, None, QUOTA)],
            id="masked braces",
        ),
        pytest.param(
            '"code": "NotFound",\n "message": "Not there.",\n "details": [\n {\n "code": "Gone",\n "message": "Left ye',
            [(1, "Gone", "Left ye"), (0, "NotFound", "Not there.")],
            id="cut at both ends",
        ),
        pytest.param(
            r"ERROR: {\"error\": {\"code\": \"BadArgument\", \"message\": \"Image \\\"x\\\" does not exist.\"}}",
            [(0, "BadArgument", 'Image "x" does not exist.')],
            id="escaped",
        ),
        pytest.param(
            '"code": "NotFound", "message": "{{\\"title\\":\\"Not Found\\"}}"',
            [(0, "NotFound", '{{"title":"Not Found"}}')],
            id="a message that is only a mask",
        ),
        pytest.param(
            "Container events:\n"
            "Kind: Pod, Name: Pulling, Type: Normal, Time: 2022-09-15T07:56:49.0Z, Message: Start pulling\n"
            "Kind: Pod, Name: ImagePullFailed, Type: Warning, Time: 2022-09-15T07:57:01.0Z, Message: No image.",
            [(1, "ImagePullFailed", "No image."), (0, None, "Container events:")],
            id="container events",
        ),
        pytest.param(
            "TypeError: register() takes 3", [(0, None, "TypeError: register() takes 3")], id="python exception"
        ),
        pytest.param("It said 401 (Unauthorized) there", [(0, None, "It said 401 (Unauthorized) there")], id="no code"),
        pytest.param(
            "rpc error: code = Unknown desc = x", [(0, None, "rpc error: code = Unknown desc = x")], id="grpc"
        ),
        pytest.param("Status Code: Forbidden then", [(0, None, "Status Code: Forbidden then")], id="http status"),
    ],
)
def test_shapes(text, details):
    assert told(text) == details


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(OutOfQuota) No cores.\nCode: OutOfQuota\nMessage: No cores.", id="sdk"),
        pytest.param("HttpResponseError: (None) OutOfQuota: No cores.\nCode: None", id="sdk wrapper, code None"),
        pytest.param("azure.core.exceptions.HttpResponseError: (OutOfQuota) No cores.", id="qualified wrapper"),
        pytest.param("(OutOfQuota) No cores.\\nCode: OutOfQuota\\nMessage: No cores.", id="breaks written out"),
        pytest.param('Response: b\'{"code":"OutOfQuota","message":"No cores."}\'', id="printed bytes in a text"),
        pytest.param(
            '"{\\\\\\"code\\\\\\": \\\\\\"OutOfQuota\\\\\\", \\\\\\"message\\\\\\": \\\\\\"No cores.\\\\\\"}"',
            id="escaped twice",
        ),
        pytest.param("2024-01-02T03:04:05.1234567Z ##[error](OutOfQuota) No cores.", id="Azure DevOps"),
        pytest.param("2024-01-02T03:04:05+00:00 ERROR: (OutOfQuota) No cores.", id="time with an offset"),
        pytest.param("##vso[task.logissue type=error](OutOfQuota) No cores.", id="Azure DevOps command"),
        pytest.param("deploy\tRun az\t2024-01-02T03:04:05Z ##[error]Error: (OutOfQuota) No cores.", id="GitHub log"),
        pytest.param("::error file=deploy.yml,line=3::(OutOfQuota) No cores.", id="GitHub command"),
        pytest.param('***"error":***"code":"OutOfQuota","message":"No cores."***', id="masked braces"),
        pytest.param('***\n  "code": "OutOfQuota",\n  "message": "No cores."\n***', id="masked braces on lines"),
        pytest.param("***'code': 'OutOfQuota', 'message': 'No cores.'***", id="masked braces of a repr"),
        pytest.param("\x1b[38;5;196mERROR: (OutOfQuota) No cores.\x1b[0m", id="colour"),
        pytest.param("[91mERROR: (OutOfQuota) No cores.[0m", id="colour without escape"),
        pytest.param("\\x1b[91mERROR: (OutOfQuota) No cores.\\033[0m", id="colour written out"),
        pytest.param("^[[91mERROR: (OutOfQuota) No cores.\ufffd[0m", id="colour in carets"),
        pytest.param('{"code": "OutOfQuota", "message": "\\u001b[31mNo cores.\\u001b[0m"}', id="colour in JSON"),
        pytest.param("> (OutOfQuota) No cores.\n>\n> Code: OutOfQuota\n> Message: No cores.", id="quoted"),
        pytest.param("> > (OutOfQuota) No cores.", id="quoted twice"),
        pytest.param('> {\n>   "code": "OutOfQuota",\n>   "message": "No\n> cores."\n> }', id="quoted and broken JSON"),
        pytest.param("`OutOfQuota: No cores.`", id="backticks"),
        pytest.param("Code: `OutOfQuota`\nMessage: `No cores.`", id="backticks around the values"),
        pytest.param("```\n(OutOfQuota) No cores.\n```", id="fence"),
        pytest.param('```json\n{"code": "OutOfQuota", "message": "No cores."}\n```', id="fence with a language"),
        pytest.param("**OutOfQuota**: No cores.", id="bold code"),
        pytest.param("**Error:** `(OutOfQuota) No cores.`", id="bold before backticks"),
        pytest.param("> **Code:** OutOfQuota\n> **Message:** No cores.", id="bold in a quote"),
        pytest.param("- Code: OutOfQuota\n- Message: No cores.", id="list"),
    ],
)
def test_what_logs_and_people_put_around_an_error_is_taken_off(text):
    detail = deepest(parse(text))
    assert detail is not None
    assert (detail.code, " ".join(detail.message.split())) == ("OutOfQuota", "No cores.")


@pytest.mark.parametrize(
    "text",
    [
        "No quota in SubscriptionId ***. Current usage/limit: 0/6",
        "found src/**/score.py and src/**/model.pkl",
        "call f(*args, **first, **second)",
        "pip needs numpy\n>=1.26",
        "5 > 4 [N/A]",
        "[N/A]",
        "no file in C:\\new\\temp (Code)",
    ],
)
def test_what_only_looks_like_decoration_stays(text):
    assert told(text) == [(0, None, text)]


@pytest.mark.parametrize("between", [pytest.param("\n", id="lines"), pytest.param(" ", id="one line")])
def test_a_deployment_log_tells_of_its_warnings(between):
    text = between.join(
        (
            "Instance status:",
            "SystemSetup: Succeeded",
            "UserContainerImagePull: Failed",
            "Container events:",
            "Kind: Pod, Name: Pulling, Type: Normal, Time: 2024-01-02T03:04:05.000000Z, Message: Start pulling",
            "Kind: Pod, Name: DownloadFailed, Type: Warning, Time: 2024-01-02T03:04:05.000000Z, Message: No access.",
            "Kind: Pod, Name: ImagePullFailed, Type: Warning, Time: 2024-01-02T03:04:06.000000Z, Message: No image.",
        )
    )
    assert told(text)[:2] == [(1, "DownloadFailed", "No access."), (1, "ImagePullFailed", "No image.")]


QUOTA_SYNC = (
    "(BadRequest) The request is invalid. Code: BadRequest Message: The request is invalid. Exception Details: "
    "(InferencingClientCreateDeploymentFailed) InferencingClient HttpRequest error, error detail: "
    f'{{"errors":{{"VmSize":["{QUOTA}"]}},"title":"One or more validation errors occurred.","status":400}} '
    "Code: InferencingClientCreateDeploymentFailed"
)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (ARM, "BadArgument", "Image does not exist."),
        (QUOTA_SYNC, None, f"VmSize: {QUOTA}"),
        (
            "(BadRequest) The request is invalid.\nException Details:\t(MissingDriver) No driver.",
            "MissingDriver",
            "No driver.",
        ),
        ("(Canceled) Operation failed or canceled.\nCode: Canceled", "Canceled", "Operation failed or canceled."),
        (
            {
                "code": "ResourceDeploymentFailure",
                "message": "Deployment failed.",
                "details": [{"code": "OperationCanceled"}],
            },
            "OperationCanceled",
            "",
        ),
        (
            {
                "code": "OutOfQuota",
                "message": "No cores.",
                "details": [{"code": "BadRequest", "message": "The request is invalid."}],
            },
            "OutOfQuota",
            "No cores.",
        ),
    ],
)
def test_the_deepest_detail_is_the_one_that_says_most(text, code, message):
    detail = deepest(parse(text))
    assert detail is not None
    assert (detail.code, detail.message) == (code, message)


def test_there_is_no_deepest_of_nothing():
    assert deepest(()) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('see https://aka.ms/oe-tsg#error-outofquota"]', ("error-outofquota",)),
        ("https://aka.ms/oe-tsg#authorization-error.", ("authorization-error",)),
        ("[a](https://aka.ms/amlarc-tsg) http://aka.ms/AMLARC-TSG", ("amlarc-tsg",)),
        ("aka.ms/register-resource-provider, aka.ms/oe-tsg", ("register-resource-provider", "oe-tsg")),
        ("https://example.com/oe-tsg#error-x", ()),
        (
            "[https://docs.microsoft.com/en-us/azure/machine-learning/how-to-troubleshoot-online-endpoints#Error-OutOfQuota]",
            ("error-outofquota",),
        ),
        (
            "(https://learn.microsoft.com/azure/x/how-to-troubleshoot-online-endpoints?view=a-2&tabs=cli#http-status-codes).",
            ("http-status-codes",),
        ),
        (
            "https://learn.microsoft.com/de-de/azure/machine-learning/how-to-troubleshoot-online-endpoints.",
            ("how-to-troubleshoot-online-endpoints",),
        ),
        ("https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints#error-x", ()),
    ],
)
def test_anchors_name_the_links(text, names):
    assert anchors(text) == names


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["code", "Message", "details", "error", "errors", "x"]), inner)
    ),
)
pieces = st.sampled_from(
    [
        *(
            '{"',
            '"code":',
            '\\"message\\":',
            '"',
            "{",
            "}",
            "[",
            "]",
            ":",
            "\\",
            "(Bad) ",
            "Code: X ",
            "Message: ",
            "b'",
            "'",
        ),
        *("Exception Details:", "Kind: Pod, Name: A, Type: Warning, Time: b, Message: ", "\n", "<Code>", "None"),
        *("\ue000", "1", "\ue001"),
    ]
)


@given(json_values | json_values.map(json.dumps) | st.text() | st.binary() | st.lists(pieces).map("".join))
def test_parse_never_raises_and_keeps_its_bounds(value):
    details = parse(value)
    assert len(details) <= 100
    assert all(isinstance(detail, ErrorDetail) and 0 <= detail.depth <= 12 for detail in details)
    assert [detail.depth for detail in details] == sorted((detail.depth for detail in details), reverse=True)
    assert (deepest(details) is None) == (not details)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_a_text_with_anything_to_say_gives_a_detail(text):
    assert parse(text)


def nested(kind):
    value: object = {"code": "Inner", "message": "x"}
    for _ in range(20_000):
        value = {"error": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["\x00", b"\x00\xff\xfe", "\ud800(Abc) \udfff", bytearray(b"{"), 0, 1.5, True, object(), {1, 2}, {None: "x"}],
)
def test_what_is_no_text_is_no_error(value):
    assert len(parse(value)) <= 1
    parse_redacted(value)


def test_ten_megabytes_are_read_as_far_as_the_bound():
    (detail,) = parse("(OutOfQuota) " + "No cores. " * 1_000_000)
    assert (detail.code, len(detail.message)) == ("OutOfQuota", 8_192)


@pytest.mark.parametrize("kind", [dict, list])
def test_depth_beyond_measure_is_not_followed(kind):
    assert parse(nested(kind)) == ()


@pytest.mark.parametrize("text", ['{"error":' * 100_000, "[" * 100_000, '[{"a":' * 100_000])
def test_brackets_beyond_measure_are_not_followed(text):
    assert len(parse(text)) <= 1


def test_nested_messages_stop_at_the_depth_limit():
    text = "bottom"
    for number in range(14):
        text = json.dumps({"error": {"code": f"C{number}", "message": text}})
    assert [detail.depth for detail in parse(text)] == list(range(12, -1, -1))


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "Aa",
            " ",
            "\n",
            "\\",
            "'",
            '"',
            "{",
            '{"',
            '{"a":',
            '[{"a":',
            '"code":"',
            '"message": "x",',
            '\\"',
            "\x1b[",
        ),
        *(
            "(Abc) x ",
            "Code: X ",
            "Code: X Message: y ",
            "Message: ",
            '"errors":{"a":["x"',
            '{"code":"A","message":"b"} ',
        ),
        *(
            "Kind: Pod, Name: X, Type: Warning, Time: z, Message: q\n",
            "2020-01-01T00:00:00Z ",
            "ERROR: ",
            "a.",
            "aka.ms/",
            "**a",
            "> ",
            "`",
            "[{}]",
            '{"errors":{"":["',
        ),
    ],
)
def test_hostile_text_takes_time_in_proportion(unit):
    text = (unit * MEGABYTE)[:MEGABYTE]
    begin = time.process_time()
    parse(text)
    anchors(text)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("mark", ["Code: X{:05d} ", "\n(X{:05d}) ", '"code": "X{:05d}" ', '{{"code": "X{:05d}"}}'])
def test_many_different_codes_take_time_in_proportion(mark):
    text = "".join(map(mark.format, range(MEGABYTE // len(mark))))
    begin = time.process_time()
    assert len(parse(text)) <= 100
    assert time.process_time() - begin < 2


PATTERNS = {name: value for name, value in vars(messages).items() if isinstance(value, re.Pattern)}
HOSTILE = {
    **{repr(unit): (unit, "") for unit in (*"a \n\t\\'\"`*>[]{}()<:;.-/#_0Z", "Aa", "a ", "a.", "[1;", ' "', '\\"')},
    **{
        repr(unit): (unit, "")
        for unit in ('{"a', "[ {", "(Ab", "Code", "error ", "Kind: a, Name: ", "2020-01-01T", "**a")
    },
    **{
        repr(unit): (unit, "")
        for unit in ("\\n", "\\\\n ", "> ", "aka.ms/", "learn.microsoft.com/a/", "a-/", "##vso[task.")
    },
    **{
        f"{start!r}, {unit!r}": (unit, start)
        for start in ('"', '"code"', "Kind: ", "(", "Error", "\\")
        for unit in " a\\:"
    },
    "an empty phrase": (" ", "the template deployment "),
    "blanks, then no end": (".", "Conflict"),
}


def best_time(name, text):
    # As the module uses it: a pattern that is only ever matched at one place need not be quick to search for.
    used = set(re.findall(rf"\b{name}\.(\w+)\(", inspect.getsource(messages)))
    pattern = PATTERNS[name]

    def once():
        begin = time.process_time()
        if used == {"match"}:
            pattern.match(text)
        else:
            collections.deque(pattern.finditer(text), maxlen=0)
        return time.process_time() - begin

    return min(once(), once())


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_takes_more_than_its_share_of_time_for_a_longer_text(name):
    slow = {}
    for hostile, (unit, start) in HOSTILE.items():
        short, long = (best_time(name, start + (unit * size)[:size] + "\x01") for size in (25_000, 100_000))
        if long > 8 * max(short, 0.002):
            slow[hostile] = (short, long)
    assert slow == {}


def test_what_is_kept_holds_no_secret_and_is_cut():
    text = f"login with password=Pa55-w0rd-x by ada@contoso.com failed {'x ' * 5_000}"
    (detail,) = parse_redacted({"error": {"code": "Unauthorized", "message": text}})
    assert detail.code == "Unauthorized"
    assert detail.message.startswith("login with password=<redacted> by <email> failed x x")
    assert len(detail.message) == 4_096


def test_a_body_that_was_printed_as_python_bytes_is_read_as_it_was():
    body = {"code": "BadRequest", "message": '(ImageBuildFailure) it isn\'t "there"\nCode: ImageBuildFailure'}
    printed = f"Response Code: 400\nContent: {json.dumps(body).encode()!r}"
    read = {(detail.code, detail.message) for detail in parse(printed)}
    assert ("ImageBuildFailure", 'it isn\'t "there"') in read


@pytest.mark.parametrize("text", ["b'{", "b'{\\'", "b'{\\xzz'}", "b'{' b\"[", "bob'{}'", "b'{" * 10_000])
def test_what_only_looks_like_bytes_stays(text):
    assert parse(text)[0].message
