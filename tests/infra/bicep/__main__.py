"""``python -m tests.infra.bicep FOLDER``: print what is wrong with its Bicep files; exit 1 if anything is."""

import os
import sys
from pathlib import Path

from tests.infra.bicep.check import check
from tests.infra.bicep.project import read_folder
from tests.infra.bicep.types import read_types


def main(arguments: list[str]) -> int:
    """Check a folder; give the exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("Usage: python -m tests.infra.bicep FOLDER", file=sys.stderr)
        return 2
    research = os.environ.get("MEDIC_RESEARCH")
    texts = read_folder(Path(arguments[0]))
    findings = check(texts, read_types(Path(research)) if research else None)
    for finding in findings:
        print(finding)
    files = sum(path.endswith(".bicep") for path in texts)
    unchecked = "" if research else "; resource types were not checked: MEDIC_RESEARCH is not set"
    print(f"{len(findings)} findings in {files} Bicep files{unchecked}", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
