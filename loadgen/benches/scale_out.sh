#!/usr/bin/env bash
# Clients beyond what one process may have: two loadgen processes, each against its own server on its own port, added up
# exactly by `loadgen merge`. With a limit of 20,000 descriptors per process this is how 36,000 clients are had:
#
#     loadgen/benches/scale_out.sh                    # 2 x 18,000 clients of event-tokio, 10 s
#     loadgen/benches/scale_out.sh 2000 thread 3s     # clients of each, target, duration
#
# Both generators share the machine, so each counts the other as foreign load, and on few CPUs the verdict says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
clients=${1:-18000} target=${2:-event-tokio} duration=${3:-10s}
cargo build --release --workspace --bins --locked
loadgen=${CARGO_TARGET_DIR:-target}/release/loadgen
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Time for the servers, the connections (a busy machine opened 430 a second for each) and the warm-up.
at=$(($(date +%s) + 8 + clients / ${CONNECTIONS_PER_S:-300}))
generators=()
for nth in 1 2; do
    "$loadgen" --target "$target" --start always --clients "$clients" --warmup 2s --duration "$duration" --timeout 30s \
        --seed "$nth" --start-at "$at" --no-build --quiet --output "$folder/replica-$nth.json" >"$folder/replica-$nth.txt" &
    generators+=($!)
done
for generator in "${generators[@]}"; do
    wait "$generator" || echo "a generator ended with $?"
done
cat "$folder"/replica-*.txt
echo
"$loadgen" merge --expect 2 "$folder"/replica-*.json
