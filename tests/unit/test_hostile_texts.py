"""Texts that must not make anybody act: forged, quoted, denied, of other services, and those that break a reader."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.commands.texts import symptoms
from remediations import codec
from remediations.catalogue import CAUSES
from remediations.classification import classify, judge_text
from remediations.model import Diagnosis, ErrorDetail, Found, Registry, Surroundings
from tests.builders import make_evidence, make_operation, make_row

CANCELED = "Operation was canceled by another operation that has a higher priority"
REFUSED = "container registry authorization failure"
QUOTA = "Not enough quota available for Standard_DS3_v2. Current usage/limit: 4/20. Additional needed: 4"


def judged(text, phase=None, compute=None):
    return judge_text(symptoms(text, phase), CAUSES, compute=compute)


@pytest.mark.parametrize("text", [CANCELED, f"(OperationCanceled) {CANCELED}", f"Deployment green: {CANCELED}"])
def test_the_service_s_own_sentence_nominates(text):
    assert judged(text).action == "retry"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Operation was NOT canceled by another operation that has a higher priority", id="denied"),
        pytest.param(f"No evidence that: {CANCELED}; the real cause is a crash in init()", id="denied before"),
        pytest.param(f"The guide says: {CANCELED}.", id="prose"),
        pytest.param(f'{{"error":{{"code":"ResourceNotReady","message":"it crashed: {CANCELED}"}}}}', id="a crash"),
        pytest.param(f"(ResourceNotReady) {CANCELED}", id="a code of something else"),
        pytest.param(f"(ValidationError) Tag value '{CANCELED}' contains illegal characters", id="a tag"),
        pytest.param(f'{{"input_data":"{CANCELED}"}}', id="a payload"),
        pytest.param(f"azmlinfsrv - print: {CANCELED}", id="a server's log"),
        pytest.param(f"RuntimeError: {CANCELED}", id="an exception"),
        pytest.param(f"az vm start: (OperationCanceled) {CANCELED}", id="another command"),
        pytest.param(f"Cosmos DB: {CANCELED}", id="another service"),
        pytest.param(f"{CANCELED}\n{QUOTA}", id="two actions"),
        pytest.param(f"docker push failed: {REFUSED}", id="a push"),
        pytest.param(f"client with IP 1.2.3.4 is not allowed access. {REFUSED}", id="a firewall"),
        pytest.param(f"RUN echo '{REFUSED}' returned non-zero", id="a build step"),
        pytest.param(f"VMSS scale out failed: {QUOTA}", id="a scale set"),
        pytest.param(f"logger.error: {QUOTA}", id="a logger"),
    ],
)
@pytest.mark.parametrize("compute", [None, "managed", "kubernetes"])
def test_what_repeats_it_nominates_nothing(text, compute):
    assert judged(text, compute=compute).action is None


@pytest.mark.parametrize("text", [CANCELED, QUOTA, f"(ImageBuildFailure) {REFUSED}"])
def test_requests_nominate_nothing(text):
    assert judged(text).action is not None
    assert judged(text, "invoke").action is None


def test_what_a_container_may_have_written_at_its_start_nominates_nothing():
    assert judged(CANCELED, "start").action is None


def test_the_end_of_a_long_log_is_read():
    assert judged(f"{'a line\n' * 60_000}(OutOfQuota) {QUOTA}").action == "delete-idle"


# --------------------------------------------------------------------------------------------- with reads

REGISTRY = Surroundings(
    registry=Found(Registry(path="/r", login_server="crmlprod.azurecr.io", admin_user=True)), network=Found(())
)


def diagnosed(code, text, status="Failed", **changes):
    error = ErrorDetail(code=code, message=text, depth=0)
    row = make_row(status=status, errors=(error,))
    evidence = make_evidence(
        operation=Found(make_operation(status=status, errors=(error,))),
        activity=Found((row,)),
        history=Found((row,)),
        **changes,
    )
    return classify(evidence, CAUSES, evidence_digest="d")


@pytest.mark.parametrize(
    ("code", "text", "action"),
    [
        pytest.param("ImageBuildFailure", REFUSED.capitalize(), "sync-keys", id="the service's own"),
        pytest.param("ImageBuildFailure", f"{REFUSED} for crmlprod.azurecr.io", "sync-keys", id="of its own registry"),
        pytest.param("ImageBuildFailure", f"{REFUSED} for otherorg.azurecr.io", None, id="of another registry"),
        pytest.param("ImageBuildFailure", f"RUN echo '{REFUSED}' returned non-zero", None, id="a line of a Dockerfile"),
        pytest.param("ImageBuildFailure", f"pip index pkgs.example.com 401: {REFUSED}", None, id="pip"),
        pytest.param("BadArgument", REFUSED, None, id="another code"),
    ],
)
def test_keys_are_synced_only_for_what_the_service_says_of_the_workspace_s_registry(code, text, action):
    assert diagnosed(code, text, surroundings=REGISTRY).action == action


def test_what_a_user_canceled_is_not_run_again_whatever_its_text_quotes():
    text = f"canceled by the user. (log: {CANCELED})"
    assert diagnosed("OperationCanceled", text, status="Canceled").action is None


def test_a_right_that_is_none_is_not_repeated():
    text = "does not have authorization to perform action 'x;$(rm)<script>' over scope"
    assert "rm" not in diagnosed("AuthorizationFailed", text).advice


# ------------------------------------------------------------------------------------------------- digits

KNOWN = {"unknown", *(cause.id for cause in CAUSES)}
NOMINATED = {None, *(cause.action for cause in CAUSES)}
DIGITS = st.text(alphabet="0123456789\u0664\u0666\u0e53\u00b2\uff13", min_size=1, max_size=30)
SENTENCES = (
    "User container has crashed. exit code {}",
    "Not enough quota available for Standard_DS3_v2. Current usage/limit: {}/{}. Additional needed: {}",
    "(Unschedulable) 0/{} nodes are available: {} Insufficient cpu.",
    "The request failed with status code: {}",
)


def assert_judged_well(text):
    """What holds of the short answer about any text."""
    verdict = judged(text)
    assert verdict == judged(text)
    assert verdict.cause_id in KNOWN
    assert verdict.action in NOMINATED
    assert judged(text, "invoke").action is None


def assert_diagnosed_well(text, code):
    """What holds of a diagnosis whose errors and logs are any text: it is small, can be kept, and is the same twice."""
    seen = diagnosed(code, text, logs={"InferenceServer": Found(text)})
    assert seen == diagnosed(code, text, logs={"InferenceServer": Found(text)})
    assert seen.cause_id in KNOWN
    assert seen.action in NOMINATED
    assert len(codec.encode(seen)) < 32_000
    assert codec.decode(Diagnosis, codec.encode(seen)) == seen
    return seen


@example(SENTENCES[1], "0000000001")
@example(SENTENCES[1], "1234567890")
@example(SENTENCES[2], "1234567890")
@given(st.sampled_from(SENTENCES), DIGITS)
def test_foreign_digits_are_no_numbers_and_break_nothing(sentence, digits):
    text = sentence.replace("{}", digits)
    assert_judged_well(text)
    seen = assert_diagnosed_well(text, None)
    runs = {run.lstrip("0") or "0" for run in re.findall("[0-9]+", text)}
    assert {str(value) for value in seen.facts.named.values() if isinstance(value, int)} <= runs


def test_a_number_of_5000_digits_is_none():
    assert judged(QUOTA.replace("needed: 4", f"needed: {'9' * 5_000}")).cause_id == "quota-cpu"


@example("Traceback (most recent call last):\n" + '  File "x.py", line 3\n' * 30 + "ValueError: " + "x" * 200)
@given(st.text(max_size=300))
def test_no_log_breaks_a_diagnosis(text):
    assert_diagnosed_well(text, "ResourceNotReady")
