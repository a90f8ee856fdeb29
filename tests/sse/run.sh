#!/usr/bin/env bash
# Shows that readers of event streams who know nothing of us read what we send, cut at every byte, as our own client does.
#
#     tests/sse/run.sh CACHE SEALSTONE READER...      READER: eventsource, httpx-sse, chromium
#
# CACHE, say target/sse, keeps the installed packages; they are installed again when what is asked for changed.
# Commands that are missing are installed with apt-get.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CACHE SEALSTONE READER..." >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cache=$(cd "$1" && pwd)
sealstone=$(realpath "$2")
shift 2

missing=()
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
case " $* " in *" chromium "*) command -v "${CHROMIUM:-/usr/bin/chromium}" >/dev/null || missing+=(chromium) ;; esac
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

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" && wait "$server" || true; } 2>/dev/null; rm -rf "$place"' EXIT
"$sealstone" serve --listen 127.0.0.1:0 --json --engine memory --data-dir "$place/records" >"$place/told" 2>"$place/log" &
server=$!
for _ in $(seq 100); do
    [ -s "$place/told" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$place/log" >&2; exit 1; }
    sleep 0.1
done
url=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["url"])' <"$place/told")

timeout 300 node "$here/conformance.mjs" "$cache" "$url" "$@"
