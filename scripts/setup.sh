#!/bin/sh
# Set up what `make` needs, once: scripts/setup.sh venv demo | venv dev | azurite | browser | kusto.
# A stamp holds the checksum of what was installed, so that a second run does nothing.
set -eu
cd "$(dirname "$0")/.."

AZURITE=3.35.0
# What Azure itself reads queries with.
KUSTO=12.4.1
# What draws a card, what draws the Markdown in it, and what judges whether a page is accessible.
BROWSER_PACKAGES="adaptivecards@3.0.6 markdown-it@15.0.3 axe-core@4.14.1"

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# Run it, do not trust its name: a pyenv shim exists for versions that are not active and then only prints an error.
is_python_313() {
    "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1
}

find_python() {
    pyenv_root=${PYENV_ROOT:-$(pyenv root 2>/dev/null || echo "${HOME:-}/.pyenv")}
    for candidate in "${PYTHON:-python3.13}" python3.13 python3 "$pyenv_root"/versions/3.13*/bin/python \
        "$(UV_PYTHON_PREFERENCE=only-managed uv python find --system 3.13 2>/dev/null || true)"; do
        if [ -n "$candidate" ] && is_python_313 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.13 (with venv) found: not as python3.13 or python3 on PATH, not in pyenv, not in uv.
Install it by one of: apt-get install python3.13-venv, brew install python@3.13, pyenv install 3.13, uv python install 3.13;
or name it: make PYTHON=/path/to/python3.13 ..."
}

venv() {
    # Who has the later layers has the earlier ones too.
    case $1 in
    demo) layers="requirements.txt requirements-local.txt" stamps=".venv/.stamp-demo .venv/.stamp-dev" ;;
    dev) layers="requirements.txt requirements-local.txt requirements-dev.txt" stamps=".venv/.stamp-dev" ;;
    *) fail "there is no environment $1: say demo or dev" ;;
    esac
    wanted=$(cat requirements*.txt | cksum)
    for stamp in $stamps; do
        if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done
    is_python_313 .venv/bin/python || {
        python=$(find_python)
        echo "setup: creating .venv with $("$python" -V)"
        "$python" -m venv --clear .venv
    }
    echo "setup: installing $layers (once; half a minute or so)"
    # shellcheck disable=SC2086 # two words for each layer
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-compile $(printf -- '-r %s ' $layers) ||
        fail "pip could not install $layers; its own message is above"
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e . ||
        fail "pip could not install the command medic; its own message is above"
    echo "$wanted" >".venv/.stamp-$1"
}

azurite() {
    stamp=.tools/azurite/.stamp
    [ "$(cat "$stamp" 2>/dev/null)" = "$AZURITE" ] && return
    for tool in node npm; do
        command -v "$tool" >/dev/null ||
            fail "$tool is missing: the tests need Azurite, which runs on it. Install Node.js 20 or newer (apt-get install nodejs npm)."
    done
    echo "setup: installing azurite $AZURITE (once)"
    npm install --prefix .tools/azurite --no-audit --no-fund --loglevel=error "azurite@$AZURITE" ||
        fail "npm could not install azurite $AZURITE; its own message is above"
    echo "$AZURITE" >"$stamp"
}

kusto() {
    stamp=.tools/kusto/.stamp
    [ "$(cat "$stamp" 2>/dev/null)" = "$KUSTO" ] && return
    command -v npm >/dev/null ||
        fail "npm is missing: it fetches what the tests of queries need. Install Node.js 20 or newer (apt-get install nodejs npm)."
    echo "setup: installing @kusto/language-service-next $KUSTO (once)"
    npm install --prefix .tools/kusto --ignore-scripts --no-audit --no-fund --loglevel=error "@kusto/language-service-next@$KUSTO" ||
        fail "npm could not install @kusto/language-service-next $KUSTO; its own message is above"
    echo "$KUSTO" >"$stamp"
}

find_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

browser() {
    # The system's browser, which the system keeps up to date; playwright would bring a build of its own.
    find_chromium >/dev/null || {
        how="Install it, for example: apt-get install chromium fonts-dejavu-core"
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            fail "no Chromium found: not as chromium, chromium-browser or google-chrome on PATH. $how"
        fi
        echo "setup: installing Chromium, with a font that has check marks and arrows (once; a minute or so)"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq >/dev/null &&
            apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } ||
            fail "apt-get could not install chromium; its own message is above. $how"
        find_chromium >/dev/null || fail "apt-get installed chromium, yet it is not on PATH. $how"
    }
    stamp=.tools/browser/.stamp
    [ "$(cat "$stamp" 2>/dev/null)" = "$BROWSER_PACKAGES" ] && return
    command -v npm >/dev/null ||
        fail "npm is missing: it fetches what the tests in a browser need. Install Node.js 20 or newer (apt-get install nodejs npm)."
    echo "setup: installing $BROWSER_PACKAGES (once)"
    # shellcheck disable=SC2086 # a word for each package
    npm install --prefix .tools/browser --save-exact --ignore-scripts --no-audit --no-fund --loglevel=error $BROWSER_PACKAGES ||
        fail "npm could not install $BROWSER_PACKAGES; its own message is above"
    echo "$BROWSER_PACKAGES" >"$stamp"
}

case ${1:-} in
venv) venv "${2:-}" ;;
azurite) azurite ;;
browser) browser ;;
kusto) kusto ;;
*) fail "usage: scripts/setup.sh venv demo | venv dev | azurite | browser | kusto" ;;
esac
