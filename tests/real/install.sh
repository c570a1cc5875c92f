#!/bin/sh
# Installs what the tests marked `realserver` talk to: real servers and a browser as Debian packages (as root), and
# helm and kubeconform from the Go module proxy. Never fails: without them those tests skip, and say so.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
missing=""
command -v prometheus >/dev/null || missing="$missing prometheus"
command -v prometheus-alertmanager >/dev/null || missing="$missing prometheus-alertmanager"
command -v chromium >/dev/null || missing="$missing chromium fonts-liberation"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
export DEBIAN_FRONTEND=noninteractive
if [ -n "$missing" ] && { ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; }; then
    echo "tests/real: NOT INSTALLED:$missing: needs apt-get and root; tests against them will be skipped" >&2
elif [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    { apt-get -o DPkg::Lock::Timeout=300 update -qq &&
        apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null; } ||
        echo "tests/real: NOT INSTALLED:$missing: apt-get failed; tests against them will be skipped" >&2
fi

tools=${OOMSCOPE_TEST_TOOLS:-$HOME/.cache/oomscope-tests}
charts() {
    mkdir -p "$tools/bin"
    command -v helm >/dev/null || [ -x "$tools/bin/helm" ] ||
        GOBIN="$tools/bin" go install helm.sh/helm/v3/cmd/helm@v3.22.0 || return 1
    [ -x "$tools/bin/kubeconform" ] ||
        GOBIN="$tools/bin" go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0 || return 1
    [ -f "$tools/schemas/deployment-apps-v1.json" ] && return 0
    go mod download k8s.io/kubernetes@v1.31.4 || return 1
    python3 "$here/kube_schemas.py" \
        "$(go env GOMODCACHE)/k8s.io/kubernetes@v1.31.4/api/openapi-spec/swagger.json" "$tools/schemas"
}
if ! command -v go >/dev/null; then
    echo "tests/real: NOT INSTALLED: helm kubeconform: needs go; tests against them will be skipped" >&2
elif ! charts >"/tmp/oomscope-charts.$$" 2>&1; then
    tail -n 3 "/tmp/oomscope-charts.$$" >&2
    echo "tests/real: NOT INSTALLED: helm kubeconform: go failed; tests against them will be skipped" >&2
fi
rm -f "/tmp/oomscope-charts.$$"
