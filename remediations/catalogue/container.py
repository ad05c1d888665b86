"""Causes in the container of a deployment: its scoring script, its environment, its probes, its memory.

A traceback says the same in every program, so a text is taken for a container's only if it says so: by a path or a word
of Azure ML's servers, by a code of a container that did not start, or because it is known where it was read.
"""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import container_wrote_nothing
from remediations.catalogue.matchers import Symptoms, anchor, anywhere, code, during, either, every, without
from remediations.catalogue.texts import CONDA_FAILED, CRASHED, GUIDE, IMAGE_BUILD, NO_SPACE, OUT_OF_QUOTA, numbered
from remediations.catalogue.words import DEPLOY_LOCALLY, GET_LOGS, NO_CODE, NO_SPEC, SHOW_DEPLOYMENT

_NOT_READY = f"{GUIDE}#error-resourcenotready"
_CRASH_LOOP = ("KubernetesCrashLoopBackOff", "DeploymentCrashLoopBackOff")
_CRASH_CODES = ("ResourceNotReady", "CrashLoopBackOff", *_CRASH_LOOP)
_TELLS = "the container's log"

_SERVER = anywhere(
    r"azureml[-_](?:server|app|models|inference|infsrv)|/var/azureml|aml_blueprint|mlflow_score_script"
    r"|entry[-_ ]script|scoring[-_ ]?(?:script|file)|\bscore\.py\b|user container has crashed"
    r"|container application crashed|gunicorn/(?:run|finish)"
)
IN_CONTAINER = without(
    either(
        _SERVER,
        during("start"),
        code(*_CRASH_CODES, "AciDeploymentFailed", "KubernetesDeploymentFailed", "PodOutOfMemory"),
        code("UserScriptImportError", "UserScriptInitFailed", "UserScriptFunctionNotFound"),
    ),
    during("invoke"),  # then it has started
)
_CANNOT_IMPORT = anywhere(r"\b(?:ModuleNotFoundError|ImportError): |No module named '|cannot import name '")
_SYNTAX = anywhere(r"\b(?:SyntaxError|IndentationError|TabError): ")
_REGISTER = anywhere(r"\bregister\(\) takes 3 positional arguments but 4 were\b")
_NO_SCRIPT = anywhere(
    r"(?:No such file or directory:|can't open file) ?['\"]?[^'\"\n]{1,200}\.py\b"
    r"|No module named '?main\b|no scor(?:e|ing) script found"
    r"|(?:scoring|entry) (?:script|file)[^\n]{0,200}(?:not found|does not exist|could not be found|cannot be found)"
    r"|driver (?:file|script)[^\n]{0,200}not found"
)
_NO_FUNCTION = anywhere(
    r"does not have an? (?:init|run)\(\) function defined|"
    r"(?:module|object) '[^'\n]{0,120}' has no attribute '(?:init|run)'|(?:init|run)\(\) (?:function )?is not defined"
    r"|(?:no|a) function named '?(?:init|run)\b"
    r"|required functions? '?(?:init|run)|(?:scoring|entry) script[^\n]{0,80}(?:has no|missing|must (?:have|define))"
    r"[^\n]{0,40}\b(?:init|run)\("
)
_INIT_RAISED = anywhere(
    r"(?:errors?|problem|failure|exception) (?:in|with|of|by)[^\n]{0,40}\binit(?:\(\))? (?:function|method)"
    r"|\binit(?:\(\))? (?:function|method)[^\n]{0,60}(?:raised|failed|exception)"
    r"|line \d{1,7}, in (?:init|load_script|invoke_init)\b(?!\x20\w)|exception (?:raised )?in init\b"
    r"|error in entry script,? \w{1,60}(?:error|exception)\b|worker failed to boot|exited: gunicorn \(exit status 3\b"
    r"|load(?:ing)? model[^\n]{0,200}(?:failed|doesn't exist|does not exist)"
)
_FILE_MISSING = anywhere(
    r"FileNotFoundError|No such file or directory|configuration file [\w.]{1,60}, could not be found"
)
_PROBE_FAILED = anywhere(r"\b(?:liveness|readiness|startup) probe failed")
_OUT_OF_MEMORY = anywhere(
    r"\bOOMKilled\b|sent SIGKILL! perhaps out of memory|out of memory: killed"
    r"|exit(?:ed)?(?: with)? ?(?:code|status)?:? 137\b"
)
_BROAD = ("container-crash", "probe-failure", "score-script-init-failure", "score-script-run-failure", "model-error")

CAUSES = (
    Cause(
        id="score-script-import-error",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff", "UserScriptImportError"),
        what="The scoring script imports a package that its environment does not have, or not in that version.",
        matches=without(
            either(
                code("UserScriptImportError"),
                every(_CANNOT_IMPORT, IN_CONTAINER),
                anywhere(r"failed to import user script because it raised"),
            ),
            IMAGE_BUILD,
            _REGISTER,
        ),
        refines=(*_BROAD, "conda-env-install-failure"),
        advice="Add the package to the environment's conda file, with its version pinned, and deploy again.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                "ResourceNotReady",
                "User container has crashed or terminated. Please see troubleshooting guide, available here: "
                "https://aka.ms/oe-tsg#error-resourcenotready",
                log='  File "/var/azureml-app/score.py", line 3, in <module>\n    import xgboost\n'
                "ModuleNotFoundError: No module named 'xgboost'\nWorker exiting (pid: 31)",
            ),
            Symptoms.of(None, "Error in entry script, ImportError: cannot import name 'Markup' from 'jinja2'"),
            Symptoms.of("UserScriptImportError", "The scoring script imports unavailable packages."),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="score-script-syntax-error",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff",),
        what="The scoring script is no valid Python.",
        matches=without(every(_SYNTAX, IN_CONTAINER), IMAGE_BUILD),
        refines=(*_BROAD, "score-script-import-error"),
        advice="Correct the scoring script at the line that the traceback names, and deploy again.",
        commands=(GET_LOGS, "python -m py_compile SCORING_SCRIPT"),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                "ResourceNotReady",
                "User container has crashed or terminated.",
                log='  File "/var/azureml-app/src/score.py", line 12\n    def run(data)\n                 ^\n'
                "SyntaxError: expected ':'",
            ),
            Symptoms.of(None, "Error in entry script, IndentationError: unexpected indent (score.py, line 7)"),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="flask-register-incompatibility",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff",),
        what="The inference server in the environment is too old for the version of Flask beside it.",
        matches=every(_REGISTER, IN_CONTAINER),
        refines=_BROAD,
        advice="Pin azureml-inference-server-http to 0.7 or later in the environment, or Flask below 2.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                None,
                'File "/var/azureml-server/aml_blueprint.py", line 251, in register\n'
                "TypeError: register() takes 3 positional arguments but 4 were given",
            ),
            Symptoms.of(None, "TypeError: register() takes 3 positional arguments but 4 were given", phase="start"),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="score-script-not-found",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff",),
        what="The scoring script that the deployment names is not in its code folder.",
        matches=without(every(_NO_SCRIPT, IN_CONTAINER), IMAGE_BUILD),
        refines=(*_BROAD, "score-script-import-error"),
        advice="Correct `code_configuration.code` and `scoring_script`: the script's path is relative to the folder.",
        commands=(f"{SHOW_DEPLOYMENT} --query code_configuration", GET_LOGS),
        limits=NO_SPEC,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                None,
                "FileNotFoundError: [Errno 2] No such file or directory: '/var/azureml-app/onlinescoring/score.py'",
            ),
            Symptoms.of(
                "ResourceNotReady", "User container has crashed.", log="The entry script src/score.py was not found."
            ),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="score-script-function-missing",
        code="ResourceNotReady",
        also=("UserScriptFunctionNotFound", "KubernetesCrashLoopBackOff"),
        what="The scoring script has no function `init()` or no function `run()`.",
        matches=either(code("UserScriptFunctionNotFound"), every(_NO_FUNCTION, IN_CONTAINER)),
        refines=_BROAD,
        advice="Define both `init()` and `run()` at the top level of the scoring script, and deploy again.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of("UserScriptFunctionNotFound", "Failed to run the scoring script."),
            Symptoms.of(
                None,
                "File \"/var/azureml-server/user_script.py\"\nAttributeError: module 'score' has no attribute 'run'",
            ),
        ),
        source=f"{GUIDE}#error-userscriptfunctionnotfound",
    ),
    Cause(
        id="score-script-init-failure",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff", "UserScriptInitFailed"),
        what="The scoring script's `init()` raised an exception, so that the server did not start.",
        matches=without(
            either(
                code("UserScriptInitFailed"),
                anywhere(r"model not found in cache or in root"),
                every(_INIT_RAISED, IN_CONTAINER),
                every(_FILE_MISSING, IN_CONTAINER),
            ),
            IMAGE_BUILD,
        ),
        refines=("container-crash", "probe-failure"),
        advice="Correct `init()` as the end of the log says; it often loads the model from a path that is not there.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                "CrashLoopBackOff",
                "Your container application crashed. This may be caused by errors in your scoring file's init() "
                "function.",
            ),
            Symptoms.of("UserScriptInitFailed", "init function in score.py raised exception."),
            Symptoms.of(
                "ResourceNotReady",
                "User container has crashed.",
                log='  File "/var/azureml-app/score.py", line 21, in init\n    model = joblib.load(path)\n'
                "FileNotFoundError: [Errno 2] No such file or directory: "
                "'/var/azureml-app/azureml-models/credit/3/m.pkl'",
            ),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="conda-env-install-failure",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff",),
        what="The conda environment of the deployment could not be installed when its container started.",
        matches=without(every(CONDA_FAILED, IN_CONTAINER), IMAGE_BUILD),
        refines=("container-crash", "probe-failure", "score-script-init-failure", "local-deployment-failed"),
        advice="Make the conda file install on your own machine, with versions pinned; a larger instance "
        "may help, too.",
        commands=("conda env create -n userenv -f CONDA_FILE", GET_LOGS),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                "ResourceNotReady",
                "User container has crashed or terminated.",
                log="Solving environment: ...working... failed\nResolvePackageNotFound: \n  - scikit-learn=0.24.9",
            ),
            Symptoms.of(
                None, "mlflow_score_script: CondaEnvException: Pip failed\nCondaValueError: pip returned an error"
            ),
        ),
        source=f"{GUIDE}#conda-installation",
    ),
    Cause(
        id="container-out-of-memory",
        code="PodOutOfMemory",
        also=("KubernetesCrashLoopBackOff", "ResourceNotReady"),
        what="The container was killed because it took more memory than it may.",
        matches=without(
            either(code("PodOutOfMemory"), every(_OUT_OF_MEMORY, IN_CONTAINER)), OUT_OF_QUOTA, NO_SPACE, IMAGE_BUILD
        ),
        refines=(*_BROAD, "score-script-init-failure"),
        advice="Give the container more memory (a larger instance type or memory limit), or load a smaller model.",
        commands=(GET_LOGS, f"{SHOW_DEPLOYMENT} --query '[instance_type, resources]'"),
        limits=NO_SPEC,
        tells=_TELLS,
        examples=(
            Symptoms.of("PodOutOfMemory", "The memory limit of the deployment is insufficient."),
            Symptoms.of("ResourceNotReady", "User container has crashed.", log="inference-server: exit code 137"),
            Symptoms.of("CrashLoopBackOff", "Your container application crashed: last state Terminated, OOMKilled"),
        ),
        source=f"{GUIDE}#error-podoutofmemory",
    ),
    Cause(
        id="probe-failure",
        code="ResourceNotReady",
        what="A probe of the container failed: it did not start, or not in time.",
        matches=without(every(_PROBE_FAILED, IN_CONTAINER), IMAGE_BUILD),
        refines=("container-crash",),
        advice="Read the container's log; give the probes more time if the model is still loading when they begin.",
        commands=(GET_LOGS, f"{SHOW_DEPLOYMENT} --query '[liveness_probe, readiness_probe]'"),
        limits=NO_SPEC,
        tells=_TELLS,
        examples=(
            Symptoms.of(
                "BadArgument",
                "User container has crashed or terminated: Liveness probe failed: HTTP probe failed with statuscode: "
                "502.",
            ),
            Symptoms.of(
                "ResourceNotReady",
                "User container has crashed or terminated: Readiness probe failed: connection refused",
            ),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="container-no-logs",
        code="ResourceNotReady",
        also=("KubernetesCrashLoopBackOff",),
        what="The container crashed before it wrote a single line: it usually did not start at all.",
        matches=either(CRASHED, code("ResourceNotReady")),
        checks=(container_wrote_nothing,),
        needs_support=True,
        refines=("container-crash",),
        advice="Deploy it locally: a container that writes nothing shows there why it does not start.",
        commands=(DEPLOY_LOCALLY,),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of("BadArgument", "User container has crashed or terminated."),
            Symptoms.of("ResourceNotReady", "User container has crashed or terminated."),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="container-crash",
        code="ResourceNotReady",
        also=_CRASH_LOOP,
        what="The container of the deployment crashed; its log says why, if anything does.",
        matches=either(
            CRASHED,
            anywhere(r"your container application crashed"),
            code(*_CRASH_LOOP),
            anchor("error-resourcenotready", "error-kubernetescrashloopbackoff", "error-deploymentcrashloopbackoff"),
            numbered("ERR_2200"),
            anywhere(r"exit code \d{1,3} is not normal\. killing image"),
            every(anywhere(r"\bCrashLoopBackOff\b|back-off restarting failed container"), IN_CONTAINER),
        ),
        advice="Read the container's log, and run the deployment locally until its scoring script starts.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits=NO_CODE,
        tells=_TELLS,
        examples=(
            Symptoms.of("BadArgument", "User container has crashed or terminated."),
            Symptoms.of("ResourceNotReady", "User container has crashed or terminated."),
            Symptoms.of("KubernetesCrashLoopBackOff", "One or more pods are stuck in CrashLoopBackOff."),
        ),
        source=_NOT_READY,
    ),
    Cause(
        id="local-deployment-failed",
        code="LocalDeployment",
        what="A local deployment (`--local`) could not be made with the Docker of this machine.",
        matches=either(
            code("LocalEndpointInFailedStateError", "DockerEngineNotAvailableError"),
            anywhere(r"please make sure docker engine is installed and running"),
            anywhere(
                r"DockerEngineNotAvailable|LocalEndpointInFailedState|LocalEndpointNotFoundError|LocalEndpointImageBuild"
                r"|LocalDeploymentGPUNotAvailable|RequiredLocalArtifactsNotFound|CloudArtifactsNotSupported"
                r"|_local_deployment_helper|webservice[./]local\b"
                r"|local (?:endpoint|deployment)[^\n]{0,160}(?:docker|failed|error|does not exist)"
            ),
        ),
        refines=(*_BROAD, "image-reference-wrong", "image-build-generic"),
        advice="Start Docker on this machine, and give the local deployment local artifacts: a model and code on disk.",
        commands=("docker version", DEPLOY_LOCALLY),
        limits="It sees nothing of a machine's own Docker.",
        tells="the local Docker",
        examples=(
            Symptoms.of(
                None,
                "DockerEngineNotAvailableError: Please make sure Docker Engine is installed and running.",
            ),
            Symptoms.of(None, "Local endpoint in failed state: the Docker container has exited with an error."),
        ),
        source=f"{GUIDE}#deploy-locally",
    ),
)
