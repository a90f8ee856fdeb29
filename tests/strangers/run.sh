#!/usr/bin/env bash
# Shows that what Sealstone seals is accepted by tools that know nothing of it (check.py says which).
#
#     tests/strangers/run.sh CACHE --public-key KEY.pem FILE...
#     tests/strangers/run.sh CACHE --install-only
#
# CACHE, say target/strangers, keeps the installed packages; they are installed again when what is asked for changed.
# All arguments after it are check.py's. Commands that are missing are installed with apt-get.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CACHE --public-key KEY.pem [--schemas DIR] [--self-test] FILE..." >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cache=$(cd "$1" && pwd)
shift

missing=()
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v openssl >/dev/null || missing+=(openssl)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -q >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        ca-certificates "${missing[@]}" >&2
fi

# The stamp is written last: an installation that was cut short is made anew.
wanted=$(cat "$here/requirements.txt" "$here/package.json" <(python3 --version) | sha256sum)
if [ ! -e "$cache/stamp" ] || [ "$(cat "$cache/stamp")" != "$wanted" ]; then
    rm -rf "$cache/stamp" "$cache/venv" "$cache/npm"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    mkdir "$cache/npm"
    cp "$here/package.json" "$cache/npm/"
    (cd "$cache/npm" && npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    printf '%s\n' "$wanted" >"$cache/stamp"
fi

[ "${1-}" != --install-only ] || exit 0
exec "$cache/venv/bin/python" -B "$here/check.py" --node-modules "$cache/npm/node_modules" "$@"
