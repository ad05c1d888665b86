"""Print infra/main.parameters.json with its placeholders filled in from the environment, for `az deployment`.

azd does so by itself: `${NAME}` and `${NAME=default}`; what is not set, or empty, is the default or nothing.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARAMETERS = Path(__file__).parents[1] / "infra/main.parameters.json"
PLACEHOLDER = re.compile(r"\$\{(?P<name>\w+)(?:=(?P<default>[^}]*))?\}")


def filled(value: Any, environment: Mapping[str, str]) -> Any:
    """Give some data with the placeholders in its texts filled in."""
    if isinstance(value, dict):
        return {name: filled(item, environment) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, environment) for item in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda found: environment.get(found["name"]) or found["default"] or "", value)
    return value


if __name__ == "__main__":
    json.dump(filled(json.loads(PARAMETERS.read_text("utf-8")), os.environ), sys.stdout, indent=2)
