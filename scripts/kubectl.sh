#!/usr/bin/env bash
# Make sure that there is a kubectl: the one on PATH, else one built from Kubernetes' Go module into $1.
set -euo pipefail
tools=$1
version=v1.35.4
# The tests look into $1 first (make test), so that one is what they use where both are there.
if [ -x "$tools/kubectl" ]; then echo "kubectl: $tools/kubectl"; exit 0; fi
if command -v kubectl >/dev/null 2>&1; then echo "kubectl: $(command -v kubectl), on PATH"; exit 0; fi
command -v go >/dev/null 2>&1 || { echo "no kubectl and no Go: install one of them (Debian: golang-go) and try again" >&2; exit 1; }
echo "building kubectl $version from its Go module (once, a few minutes)"
mkdir -p "$tools"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
staging=v0.${version#v1.}
upstream=$(go mod download -json "k8s.io/kubernetes@$version" | python3 -c 'import json,sys; print(json.load(sys.stdin)["GoMod"])')
# k8s.io/kubernetes replaces its staging modules by folders that the module's zip lacks; ours replaces them by the published ones.
modules=$(grep -oE '^\s*k8s\.io/[a-z0-9-]+ => ./staging' "$upstream" | awk '{print $1}' || true)
[ -n "$modules" ] || modules=$(grep -oE 'k8s\.io/[a-z0-9-]+ v0\.0\.0' "$upstream" | awk '{print $1}' | sort -u)
{
  echo "module aegis.dev/kubectl"; echo; grep -E '^go |^godebug' "$upstream"; echo
  echo "require k8s.io/kubernetes $version"; echo "replace ("
  for module in $modules; do echo "  $module => $module $staging"; done
  echo ")"
} > "$build/go.mod"
printf '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kubectl"\n' > "$build/tools.go"
(cd "$build" && go mod tidy >/dev/null 2>&1 && go build -o kubectl k8s.io/kubernetes/cmd/kubectl)
mv "$build/kubectl" "$tools/kubectl"
echo "kubectl: $tools/kubectl"
