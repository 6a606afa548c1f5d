#!/usr/bin/env bash
# Write the lock files: exact versions with hashes, for every platform, and no index's address.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
for extra in dev bench; do
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-annotate --emit-build-options --extra "$extra" pyproject.toml \
    --output-file "requirements/$extra.lock"
done
