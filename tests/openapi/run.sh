#!/usr/bin/env bash
# Holds a running service to its /openapi.json: the document is valid OpenAPI 3.1, and whatever is asked, the answer is in it.
#
#     tests/openapi/run.sh CACHE SEALSTONE [st run's own options]
#
# CACHE, say target/openapi, keeps the installed packages; they are installed again when requirements.txt has changed.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CACHE SEALSTONE [OPTION...]" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cache=$(cd "$1" && pwd)
sealstone=$(realpath "$2")
shift 2

wanted=$(cat "$here/requirements.txt" <(python3 --version) | sha256sum)
if [ ! -e "$cache/stamp" ] || [ "$(cat "$cache/stamp")" != "$wanted" ]; then
    rm -rf "$cache/stamp" "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    printf '%s\n' "$wanted" >"$cache/stamp"
fi

place=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || true; } 2>/dev/null
    server=
}
trap 'stop; rm -rf "$place"' EXIT

serve() { # DATA-DIR; sets `server` and `url`
    rm -f "$place/told"
    "$sealstone" serve --listen 127.0.0.1:0 --json --data-dir "$1" >"$place/told" 2>"$place/log" &
    server=$!
    for _ in $(seq 100); do
        [ -s "$place/told" ] && break
        kill -0 "$server" 2>/dev/null || { cat "$place/log" >&2; exit 1; }
        sleep 0.1
    done
    url=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["url"])' <"$place/told")
}

# Compaction writes tens of megabytes each time, and streams have no end of their own: both have tests elsewhere. The seed is always the same; what is asked differs by the ids that the service gives. What the tool leaves behind goes with the place.
ask() { # st run's options
    (cd "$place" && URL=$url SCHEMATHESIS_HOOKS="$here/hooks.py" "$cache/venv/bin/st" --config-file "$here/schemathesis.toml" \
        run "$url/openapi.json" --no-color --seed 1 --generation-database none --max-examples 40 \
        --exclude-path /v1/compaction --exclude-path /v1/stream --exclude-path /v1/events --exclude-path /v1/logs/stream \
        --exclude-path '/v1/runs/{run}/events' --exclude-path '/v1/runs/{run}/logs/stream' "$@") | cut -c 1-2000
}

# While there is no token nobody is asked for one; the first that is made would end that.
serve "$place/open"
"$cache/venv/bin/python" -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' \
    "$url/openapi.json" >"$place/openapi.json"
"$cache/venv/bin/openapi-spec-validator" "$place/openapi.json"
ask --exclude-checks ignored_auth --generation-with-security-parameters false --exclude-path-regex '^/v1/tokens' "$@"
stop

made=$("$sealstone" token create fuzz --role admin --data-dir "$place/closed" --json)
of_the_token() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$made"; }
TOKEN=$(of_the_token token) OWN_ID=$(of_the_token id)
export TOKEN OWN_ID
serve "$place/closed"
ask --header "Authorization: Bearer $TOKEN" "$@"
