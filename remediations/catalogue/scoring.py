"""Causes in requests to an endpoint. All are for a person: nothing that Endpoint Medic may write would answer them.

Status codes and reason phrases say the same on every web service, so a text counts only if it says that an online
endpoint of Azure ML answered, or because that is known from an alert or a metric.

https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes
"""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import (
    answers_with,
    deployment_is_not_serving,
    deployment_is_serving,
    is_managed,
    traffic_goes_nowhere,
)
from remediations.catalogue.matchers import (
    Matcher,
    Symptoms,
    answered,
    anywhere,
    during,
    either,
    every,
    message,
    without,
)
from remediations.catalogue.texts import GUIDE
from remediations.catalogue.words import (
    AML_PODS,
    GET_LOGS,
    IN_WORKSPACE,
    NO_CODE,
    NO_SPEC,
    SHOW_DEPLOYMENT,
    SHOW_ENDPOINT,
)

_CODES = f"{GUIDE}#http-status-codes"
_METRICS = (
    "az monitor metrics list --resource "
    "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.MachineLearningServices"
    "/workspaces/{workspace}/onlineEndpoints/{endpoint} --metric RequestsPerMinute --filter \"statusCode eq '*'\""
)
_INVOKE = f"az ml online-endpoint invoke -n {{endpoint}} {IN_WORKSPACE} -r REQUEST_FILE"
_NO_SCALE = "It changes no instance counts: they cost money and quota."
_TELLS = "the endpoint's metrics by status code"

_HOST = r"\.inference\.ml\.azure\.(?:com|us|cn)"
_NOT_OURS = anywhere(
    r"\.models\.ai\.azure\.com|\.openai\.azure\.com|\bbatch[- ]?endpoint|\bserverless endpoint|<center>nginx"
    r"|\.services\.azureml\.net|connections/secrets"
)
IN_REQUEST = either(
    without(during("invoke"), _NOT_OURS),
    anywhere(
        rf"{_HOST}|/api/v1/(?:endpoint|service)/[\w-]{{1,64}}/score|azureml-model-(?:deployment|session)"
        r"|x-ms-run-function-failed|received bad response from service|azureml[-_]inference[-_]server"
        r"|\b(?:managed|kubernetes) online endpoint|invok(?:e|ing)[^\n]{0,40}online[- ]endpoint"
    ),
)


def _status(number: int, phrase: str) -> Matcher:
    """Match a status code, or its reason phrase, where a text gives one."""
    told = anywhere(
        rf"(?<![\w-])status(?:[ _-]?code)?['\"]?\s{{0,4}}[:=]?\s{{0,4}}\(?{number}\b"
        rf"|\bHTTP(?:/\d(?:\.\d)?)? ?(?:error)? ?{number}\b"
        rf"|\b{number}\W{{1,4}}{phrase}|response code: ?{number}\b|\b{number} error\b"
    )
    # The number is looked for first: it is rarer than the words around it.
    return either(every(anywhere(rf"\b{number}\b"), told), anywhere(rf"invalid status(?: code)? '{phrase}"))


# A client's own traceback says nothing of the server's.
_CLIENT = anywhere(r"requests[./]exceptions|urllib3?\b|azure\.core|azclierror|aiohttp|httpx|openai")
_OVERLOADED = anywhere(r"too[ _]many[ _]pending[ _]requests?|too many requests for service [\w.-]{1,80} \(overloaded\)")
_RATE = anywhere(
    r"rate[- ]limit(?:ed|ing)?\b|more than \d{1,6} requests per second"
    r"|requests per second[^\n]{0,80}(?:limit|exceed)|(?:limit|exceed)[^\n]{0,80}requests per second"
)
_NOT_READY = anywhere(r"no (?:ready|healthy|available) replicas?\b|no healthy upstream")
_RUN_RAISED = anywhere(
    r"an unexpected error occurred in scoring script"
    r"|line \d{1,7}, in (?:run|invoke_run|run_scoring)\b|user_script\.invoke_run\("
    r"|run function (?:failed|exception|raised)"
    r"|user run function failed|replica closed connection before replying|exception in run\("
    r"|x-ms-run-function-failed['\"]?: ?['\"]?true"
)
_BAD_INPUT = anywhere(
    r"a value is not provided for the '[^'\n]{1,80}' parameter"
    r"|POST body (?:could not be decoded|is empty|should be a JSON)"
    r"|input cannot be decoded as UTF-8|expects content-type to be application/json"
    r"|invalid input format: expected|input data error\. input data are inconsistent with schema"
    r"|failed to parse data as|must have the key '?input_data"
    r"|run\(\) got an unexpected keyword argument|run\(\) missing \d{1,2} required positional"
)
_BAD_INPUT_IN_REQUEST = anywhere(
    r"input_data['\"]? (?:is|was) (?:missing|not)|model is missing inputs|failed to enforce schema of data"
    r"|does not (?:match|conform)[^\n]{0,40}(?:schema|signature)"
    r"|(?:invalid|malformed|wrong) (?:input|payload|request body)"
    r"|expected an array|could not (?:parse|decode)[^\n]{0,40}(?:json|body|payload)"
    r"|list indices must be integers or slices, not str"
)

CAUSES = (
    Cause(
        id="invoke-auth",
        code="http-401",
        what="The key or token of the request is wrong or expired, or its owner may not score.",
        matches=either(
            answered("401", "403"),
            anywhere(r"key_auth_(?:access_denied|bad_header_forbidden)"),
            every(
                either(
                    _status(401, "unauthorized"),
                    anywhere(r"(?:token|key)[^\n]{0,40}(?:expired|invalid)|authentication failed|unauthorized"),
                ),
                IN_REQUEST,
            ),
        ),
        checks=(answers_with("401", "403"),),
        advice="Use the endpoint's current key, or a fresh token of an identity that may score.",
        commands=(
            f"{SHOW_ENDPOINT} --query auth_mode",
            f"az ml online-endpoint get-credentials -n {{endpoint}} {IN_WORKSPACE}",
        ),
        limits="It reads no keys and grants no right to score.",
        tells=_TELLS,
        examples=(
            Symptoms.of(None, "The request failed with status code: 401\nkey_auth_access_denied"),
            Symptoms.of(
                None, "HTTP Error 401: Unauthorized for https://credit.westeurope.inference.ml.azure.com/score"
            ),
            Symptoms(statuses=("401",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="no-positive-traffic",
        code="http-404",
        what="The endpoint has no deployment that takes traffic, so a request finds no way.",
        matches=without(
            either(
                answered("404"),
                anywhere(
                    r"no route found or no valid deployments to route to|no valid deployments? to route to"
                    r"|at least one deployment with positive weight"
                    r"|doesn't have any valid deployment with positive weight"
                ),
                every(_status(404, "not found"), IN_REQUEST),
            ),
            _NOT_OURS,
        ),
        checks=(traffic_goes_nowhere,),
        advice="Give a deployment that works a share of the traffic.",
        commands=(
            f"{SHOW_ENDPOINT} --query traffic",
            f"az ml online-endpoint update -n {{endpoint}} {IN_WORKSPACE} --traffic NAME_OF_ONE_THAT_WORKS=100",
        ),
        limits="It moves no traffic: which deployment is good enough is for a person to say.",
        tells="the traffic of the endpoint",
        examples=(
            Symptoms.of(
                None,
                "No valid deployments to route to. Please check that the endpoint has at least one deployment with "
                "positive weight values or use a deployment specific header to route.",
            ),
            Symptoms.of(None, "HTTP Error 404: Not Found, https://credit.westeurope.inference.ml.azure.com/score"),
            Symptoms(statuses=("404",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="invoke-timeout",
        code="http-408",
        also=("http-504",),
        what="The model took longer to answer than a request may take.",
        matches=either(
            answered("408", "504"),
            every(
                either(
                    anywhere(r"upstream request timeout|scoring timeout after \S{1,12} ms|run function timeout caught"),
                    _status(408, "request time"),
                    _status(504, "gateway time"),
                    every(anywhere(r"\b(?:408|504)\b"), anywhere(r"\btimed?[- ]?outs?\b")),
                ),
                either(IN_REQUEST, message(r"online-endpoints#http-status-codes"), anywhere(r"scoring timeout after")),
            ),
            every(
                anywhere(
                    r"(?:read(?: operation)?|request|worker) timed out|timeout exceeded"
                    r"|deadline exceeded|\bWORKER TIMEOUT\b"
                ),
                during("invoke"),
            ),
        ),
        checks=(answers_with("408", "504"),),
        refines=("model-error",),
        advice="Make the model faster or its inputs smaller, or raise `request_timeout_ms` (at most 180 s).",
        commands=(f"{SHOW_DEPLOYMENT} --query request_settings", GET_LOGS),
        limits=NO_SPEC,
        tells=_TELLS,
        examples=(
            Symptoms.of(None, "upstream request timeout", phase="invoke"),
            Symptoms.of(None, '{"message": "Scoring timeout after 5000 ms"}'),
            Symptoms(statuses=("504",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="model-error",
        code="http-424",
        what="The model's own container answered something other than 200.",
        matches=either(
            answered("424"),
            every(
                either(
                    _status(424, "failed dependency|model error"),
                    anywhere(r"ms-azureml-model-error-(?:statuscode|reason)|an unexpected internal error occurred"),
                ),
                IN_REQUEST,
            ),
        ),
        checks=(answers_with("424"), is_managed),
        advice="Read the container's log at the time of the requests; `ms-azureml-model-error-statuscode` "
        "has its answer.",
        commands=(GET_LOGS, _METRICS.replace("statusCode eq", "modelStatusCode eq")),
        limits=NO_CODE,
        tells="the container's log",
        examples=(
            Symptoms.of(
                None,
                "HTTP Error 424: Failed Dependency\nazureml-model-deployment: green\n"
                "ms-azureml-model-error-statuscode: 500",
            ),
            Symptoms(statuses=("424",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="score-script-run-failure",
        code="http-424",
        also=("http-502",),
        what="The scoring script's `run()` raised an exception or crashed.",
        matches=either(
            every(
                _RUN_RAISED,
                either(IN_REQUEST, anywhere(r"in scoring script|replica closed connection|azureml[-_](?:server|app)")),
            ),
            answered("502"),
            every(anywhere(r"unhandled exception from the user script"), during("invoke")),
            without(every(anywhere(r"traceback \(most recent call last\)"), during("invoke")), _CLIENT),
            every(_status(502, "bad gateway"), IN_REQUEST),
        ),
        checks=(answers_with("424", "502"),),
        refines=("model-error", "container-crash"),
        advice="Correct `run()` as the end of the container's log says, and deploy again.",
        commands=(GET_LOGS, f"{_INVOKE} --deployment-name {{deployment}}"),
        limits=NO_CODE,
        tells="the container's log",
        examples=(
            Symptoms.of(
                None, '{"message": "An unexpected error occurred in scoring script. Check the logs for more info."}'
            ),
            Symptoms.of(None, "Replica closed connection before replying"),
            Symptoms(
                statuses=("424",),
                phase="invoke",
                log='  File "/var/azureml-app/score.py", line 31, in run\n    return '
                "model.predict(rows)\nValueError: empty",
            ),
        ),
        source=_CODES,
    ),
    Cause(
        id="invoke-bad-input",
        code="http-424",
        also=("http-502",),
        what="The request is not what the scoring script, or the model's signature, takes.",
        matches=either(
            every(_BAD_INPUT, either(IN_REQUEST, message(r"parameter|POST body"))),
            every(_BAD_INPUT_IN_REQUEST, IN_REQUEST),
        ),
        refines=("model-error", "score-script-run-failure", "container-crash"),
        advice="Send what the script takes: for a no-code MLflow model a JSON object with `input_data`.",
        commands=(_INVOKE, GET_LOGS),
        limits="It sees no requests, only that they fail.",
        tells="the request itself",
        examples=(
            Symptoms.of(None, "A value is not provided for the 'input_data' parameter."),
            Symptoms.of(None, "Invalid input format: expected an array of items.", phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="invoke-overloaded",
        code="http-429",
        also=("http-503",),
        what="More requests are waiting at once than the deployment's instances take.",
        matches=without(
            either(
                answered("429", "503"),
                every(
                    _OVERLOADED, either(IN_REQUEST, anywhere(r"too many requests for service|too_many_pending_request"))
                ),
                every(
                    either(
                        _status(429, "too many"),
                        anywhere(r"too many requests|large spikes in requests|service (?:is )?overloaded"),
                    ),
                    IN_REQUEST,
                ),
            ),
            _RATE,
            _NOT_READY,
        ),
        refines=("model-error",),
        checks=(answers_with("429", "503"), deployment_is_serving),
        advice="Add instances, let it scale sooner, or send less at once and retry with exponential backoff.",
        commands=(
            (
                f"az ml online-deployment update -e {{endpoint}} -n {{deployment}} {IN_WORKSPACE} --set "
                f"instance_count=COUNT"
            ),
            _METRICS,
        ),
        limits=_NO_SCALE,
        tells="the endpoint's metrics and the state of the deployment",
        examples=(
            Symptoms.of(None, "Too many requests for service credit-scoring (overloaded)"),
            Symptoms.of(None, "ms-azureml-model-error-reason: too_many_pending_request"),
            Symptoms(statuses=("429",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="invoke-rate-limited",
        code="http-429",
        what="The endpoint gets more requests a second than any managed endpoint may.",
        matches=every(_RATE, IN_REQUEST),
        checks=(answers_with("429"), is_managed),
        advice="Spread the requests over time or over endpoints, or ask for a higher limit of requests per second.",
        commands=(_METRICS,),
        limits="It asks for no quota.",
        tells="the reason phrase in the traffic log",
        examples=(
            Symptoms.of(
                None,
                "The request failed with status code: 429\nazureml-model-deployment: green\nRate-limiting: the number "
                "of requests per second reached the limit of managed online endpoints.",
            ),
            Symptoms.of(None, "Rate-limited: more than 100 requests per second", phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="no-ready-replicas",
        code="http-503",
        what="No replica of the deployment is ready to answer.",
        matches=either(
            answered("503"), every(_NOT_READY, either(IN_REQUEST, anywhere(r"no ready replicas for service")))
        ),
        checks=(answers_with("503"), deployment_is_not_serving),
        refines=("model-error",),
        advice="Find out why the replicas are not ready: the deployment's state, its log, and the pods of the cluster.",
        commands=(SHOW_DEPLOYMENT, GET_LOGS, "kubectl -n NAMESPACE get pods"),
        limits=_NO_SCALE,
        tells="the state of the deployment",
        examples=(
            Symptoms.of(None, "No ready replicas for service credit-scoring."),
            Symptoms.of(None, "no healthy upstream", phase="invoke"),
        ),
        source=f"{GUIDE}#how-to-prevent-503-status-codes",
    ),
    Cause(
        id="invoke-service-error",
        code="http-500",
        what="Azure ML's own infrastructure failed while it answered a request.",
        matches=without(
            either(
                answered("500"),
                every(_status(500, "internal server error"), IN_REQUEST),
            ),
            _RUN_RAISED,
            _BAD_INPUT,
        ),
        checks=(answers_with("500"),),
        advice="Retry with backoff; if it goes on, open a support ticket with the `x-request-id` of a failed request.",
        commands=(_METRICS, f"{_INVOKE} --debug"),
        limits="It has no hand on the service's own faults.",
        tells=_TELLS,
        examples=(
            Symptoms.of(
                None, "HTTP Error 500: Internal Server Error, https://credit.westeurope.inference.ml.azure.com/score"
            ),
            Symptoms(statuses=("500",), phase="invoke"),
        ),
        source=_CODES,
    ),
    Cause(
        id="bandwidth-delayed",
        code="bandwidth",
        what="Requests or answers are delayed because the endpoint uses more bandwidth than it may.",
        matches=anywhere(r"ms-azureml-bandwidth-(?:request|response)-delay-ms"),
        checks=(is_managed,),
        advice="Send less data, spread it over endpoints, or ask for more bandwidth; watch the metric Network Bytes.",
        commands=(_METRICS.replace("RequestsPerMinute", "NetworkBytes").partition(" --filter")[0],),
        limits="It asks for no quota.",
        tells="the metric Network Bytes",
        examples=(
            Symptoms.of(None, "ms-azureml-bandwidth-request-delay-ms: 1200"),
            Symptoms.of(None, "trailer: {'ms-azureml-bandwidth-response-delay-ms': '87'}"),
        ),
        source=f"{GUIDE}#bandwidth-limit-issues",
    ),
    Cause(
        id="cors-blocked",
        code="cors",
        what="A browser blocked the request: online endpoints do not answer CORS preflight requests.",
        matches=every(anywhere(r"blocked by CORS policy"), anywhere(_HOST)),
        advice="Put a service that answers CORS between browser and endpoint: a function app or an "
        "application gateway.",
        limits="It has no part in what a browser sends.",
        tells="the browser's console",
        examples=(
            Symptoms.of(
                None,
                "Access to fetch at 'https://credit.westeurope.inference.ml.azure.com/score' from origin "
                "'https://shop.example' has been blocked by CORS policy: Response to preflight request doesn't pass "
                "access control check.",
            ),
            Symptoms.of(
                None,
                "Access to XMLHttpRequest at 'https://fraud.eastus.inference.ml.azure.com/score' has been blocked by "
                "CORS policy",
            ),
        ),
        source=f"{GUIDE}#blocked-by-cors-policy",
    ),
    Cause(
        id="endpoint-not-resolved",
        code="network",
        what="The scoring URL cannot be reached from there: its name does not resolve, or its network is closed.",
        matches=every(
            anywhere(
                r"could not resolve|name or service not known|getaddrinfo failed|nodename nor servname|NXDOMAIN"
                r"|NameResolutionError|failed to resolve|temporary failure in name resolution|connection timed out"
                r"|public network access[^\n]{0,40}(?:disabled|denied|not allowed)|max retries exceeded"
            ),
            either(anywhere(_HOST), every(during("invoke"), anywhere(r"/score\b|online endpoint"))),
        ),
        advice="Resolve the name from the client's network: with a private endpoint it needs the private DNS zone.",
        commands=(f"{SHOW_ENDPOINT} --query '[scoring_uri, public_network_access]'", "nslookup SCORING_HOST"),
        limits="It changes no network.",
        tells="the name as the client's network resolves it",
        examples=(
            Symptoms.of(None, "curl: (6) Could not resolve host: credit.westeurope.inference.ml.azure.com"),
            Symptoms.of(
                None,
                "HTTPSConnectionPool(host='credit.westeurope.inference.ml.azure.com', port=443): Max retries exceeded "
                "(Caused by NameResolutionError)",
            ),
        ),
        source=f"{GUIDE}#common-network-isolation-issues",
    ),
    Cause(
        id="tracing-header-too-long",
        code="http-431",
        what="A tracing header of the request is longer than the inference server takes.",
        matches=anywhere(r"x-(?:ms-)?(?:client-)?request-id\b[^\n]{0,80} must not exceed"),
        advice="Send at most 40 letters, digits, hyphens and underscores as `x-ms-client-request-id`, and no other.",
        commands=(_INVOKE,),
        limits="It sees no requests, only that they fail.",
        tells="the request itself",
        examples=(
            Symptoms.of(None, "x-request-id must not exceed 100 characters"),
            Symptoms.of(None, "x-ms-request-id and x-ms-client-request-id must not exceed 100 characters"),
        ),
        source=f"{GUIDE}#request-tracing",
    ),
    Cause(
        id="autoscale-not-scaling",
        code="autoscale",
        what="The autoscale rules of a deployment do not scale it.",
        matches=every(
            anywhere(r"auto-?scale"),
            anywhere(r"onlineEndpoints/|online[- ](?:endpoint|deployment)"),
            anywhere(r"fail|error|unable|could not|does not|doesn't|not scal|denied|metric[^\n]{0,40}(?:missing|not)"),
        ),
        advice="Look at the autoscale setting's run history: its metric, its limits, and the quota that it needs.",
        commands=("az monitor autoscale list -g {resource_group} -o table", f"{AML_PODS}"),
        limits=_NO_SCALE,
        tells="the run history of the autoscale setting",
        examples=(
            Symptoms.of(
                None,
                "Autoscale failed to scale up resource .../onlineEndpoints/credit/deployments/green: the metric "
                "CpuUtilizationPercentage is missing.",
            ),
            Symptoms.of("ScaleupFailed", "The autoscale engine could not scale the online deployment green."),
        ),
        source=f"{GUIDE}#autoscaling-issues",
    ),
)
