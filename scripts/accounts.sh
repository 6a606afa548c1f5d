#!/usr/bin/env bash
# Let Aegis into the cluster that kubectl speaks to: its service accounts and roles, and in folder $1 a kubeconfig for
# each service, with a token of its own that is good for $2 (12h if not given).
set -euo pipefail
folder=${1:?where to write the kubeconfigs}
lasts=${2:-12h}
here=$(cd "$(dirname "$0")/.." && pwd)
"$here/.venv/bin/aegis" rbac | kubectl apply -f -
mkdir -p "$folder"
for service in ai-engine executor; do
  file=$folder/$service.kubeconfig
  (umask 077; kubectl config view --minify --flatten > "$file")
  kubectl --kubeconfig "$file" config unset users > /dev/null  # whoever runs this is none of the services
  kubectl --kubeconfig "$file" config set-credentials "$service" --token "$(kubectl -n aegis create token "$service" --duration "$lasts")" > /dev/null
  kubectl --kubeconfig "$file" config set-context --current --user "$service" > /dev/null
  echo "$file"
done
