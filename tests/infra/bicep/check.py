"""All checks over all files."""

from collections.abc import Mapping

from tests.infra.bicep.calls import check_calls
from tests.infra.bicep.conditions import check_conditions
from tests.infra.bicep.decorators import check_decorators
from tests.infra.bicep.finding import Finding
from tests.infra.bicep.linter import check_linter
from tests.infra.bicep.loops import check_loops
from tests.infra.bicep.modules import check_modules, check_reached
from tests.infra.bicep.names import check_circles, check_names
from tests.infra.bicep.operators import check_operators
from tests.infra.bicep.parameters import check_parameters
from tests.infra.bicep.project import Context, load
from tests.infra.bicep.resources import check_resources
from tests.infra.bicep.secrets import check_secrets
from tests.infra.bicep.timing import check_timing
from tests.infra.bicep.types import Types


def check(texts: Mapping[str, str], types: Types | None) -> tuple[Finding, ...]:
    """Give what is wrong with the Bicep files among these texts, by path; without types, what can be told without."""
    project = load(texts)
    found = {*project.findings, *check_reached(project)}
    for file in project.files.values():
        context = Context(project, file, types)
        circles = tuple(check_circles(context))
        found.update(circles)
        if circles:
            continue
        for findings in (
            check_names(context),
            check_decorators(context),
            check_operators(context),
            check_calls(context),
            check_loops(context),
            check_parameters(context),
            check_modules(context),
            check_resources(context, types),
            check_conditions(context),
            check_timing(context),
            check_secrets(context),
            check_linter(context),
        ):
            found.update(findings)
    return tuple(sorted(found))
