#!/usr/bin/env bash
# Run the conformance suite on the simulated cluster and on a real one of each release; write $1, the page about it.
# A cluster where something fails stands in the page as such, and in the exit code.
set -euo pipefail
page=${1:?where to write the page}
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
results=$(mktemp)
trap 'rm -f "$results"; .venv/bin/python -m testbed down' EXIT
failed=0
suite() { .venv/bin/python -m pytest tests/ports/conformance --quiet --report "$results" "$@" || failed=1; }
suite
for release in 1.37 1.28; do
  up=$(.venv/bin/python -m testbed up --release "$release")
  eval "$(grep '^export KUBECONFIG=' <<< "$up")"
  suite --kubeconfig "$KUBECONFIG"
  .venv/bin/python -m testbed down
done
.venv/bin/python -m tests.ports.conformance.report "$results" "$page"
exit "$failed"
