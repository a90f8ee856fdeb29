#!/usr/bin/env bash
# All tests, or one part: tests/run.sh [lint|core|default|docs|strangers|openapi|sse|browser|reference]. Installs what is missing besides Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

note() { printf '\n== %s\n' "$*"; }

apt_install() {
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "install these first: $*" >&2; exit 69; }
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

need() { # COMMAND PACKAGE …
    command -v "$1" >/dev/null || { note "installing ${*:2}"; apt_install "${@:2}"; }
}

part_lint() {
    cargo fmt --check
    cargo clippy --all-targets --quiet -- -D warnings
    cargo clippy --all-targets --no-default-features --quiet -- -D warnings
    # Each feature alone builds too.
    cargo clippy --no-default-features --features events --quiet -- -D warnings
    cargo clippy --no-default-features --features client --quiet -- -D warnings
    cargo clippy --no-default-features --features service --quiet -- -D warnings
}

part_core() { # the auditor's build
    cargo test --no-default-features
    auditor_build
}

# The binary without default features, for tests that let it judge what the other one made.
auditor_build() {
    cargo build --no-default-features --quiet
    cp target/debug/sealstone target/sealstone-auditor
}

# With what the service accepted and sealed kept for part_reference.
default_tests() {
    [ -f target/sealstone-auditor ] || auditor_build
    rm -rf target/kept
    SEALSTONE_AUDITOR="$PWD/target/sealstone-auditor" SEALSTONE_KEEP="$PWD/target/kept" cargo test "$@"
}

part_default() {
    default_tests
    cargo bench --no-run --quiet
}

part_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --no-default-features --quiet
}

# What `exec` seals, and the vectors, judged by tools that know nothing of this project.
part_strangers() {
    cargo build --quiet
    local place sealstone
    sealstone="$PWD/target/debug/sealstone"
    place="$(mktemp -d)"
    # shellcheck disable=SC2064 # the name as it is now
    trap "rm -rf '$place'" EXIT
    (
        cd "$place"
        git init -q .
        export XDG_DATA_HOME="$place/data"
        "$sealstone" exec --quiet --out plain.json -- echo hello
        status=0
        "$sealstone" exec --quiet --out failed.json --artifact made -- sh -c 'echo made > made; exit 3' || status=$?
        [ "$status" = 3 ]
        "$sealstone" exec --quiet --out full.json --private '*' --project acme/widget --label 'team=cöre' \
            --intent $'quote " tab \t emoji \U1F600 é' --step unit --kind test -- printf '\r\n\033[31m'
        "$sealstone" pack full.json --out pack.json
        "$sealstone" keys list --pem > key.pem
    )
    bash tests/strangers/run.sh target/strangers --public-key "$place/key.pem" --schemas schemas \
        "$place"/{plain,failed,full,pack}.json
    bash tests/strangers/run.sh target/strangers --public-key testdata/vectors/keys/trusted.pub.pem --schemas schemas \
        testdata/vectors/valid/{minimal,ci-pipeline,torture,many-steps,depth-64,disclosed,public-pack}.json
}

# A running service held to its own document by a tool that asks everything in it.
part_openapi() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv
    cargo build --quiet
    bash tests/openapi/run.sh target/openapi target/debug/sealstone
}

# Event streams as we send them, cut at every byte, read by others; our own client reads the same in `default`.
part_sse() {
    cargo build --quiet
    bash tests/sse/run.sh target/sse target/debug/sealstone eventsource httpx-sse
}

part_browser() {
    cargo build --quiet
    bash tests/sse/run.sh target/sse target/debug/sealstone chromium
}

# The same verdicts as the format's reference implementation, where a checkout of it lies beside this one.
part_reference() {
    local reference="${SEALSTONE_REFERENCE:-../shared/reference}"
    if [ ! -f "$reference/sealstone_ref.py" ]; then
        skipped+=("reference (no sealstone_ref.py in $reference; name its directory in SEALSTONE_REFERENCE)")
        return
    fi
    cargo build --quiet
    bash tests/strangers/run.sh target/strangers --install-only
    [ -d target/kept/life ] || default_tests -- whatever_was_accepted fifty_steps
    target/strangers/venv/bin/python3 tests/reference/accepted.py --reference "$reference" --kept target/kept
    target/strangers/venv/bin/python3 tests/reference/differential.py --reference "$reference" \
        --sealstone target/debug/sealstone --vectors testdata/vectors --mutants "${SEALSTONE_MUTANTS:-3000}"
}

need cc build-essential
need git git
# The README's snippets use both.
need make make
need curl curl
cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy

skipped=()
parts=("$@")
[ $# -gt 0 ] || parts=(lint core default docs strangers openapi sse browser reference)
for part in "${parts[@]}"; do
    declare -F "part_$part" >/dev/null || { echo "no part $part; see the head of $0" >&2; exit 64; }
    note "$part"
    "part_$part"
done
for part in "${skipped[@]}"; do note "SKIPPED: $part"; done
note "passed: ${parts[*]}"
