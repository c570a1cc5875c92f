#!/bin/sh
# Installs the real servers and the browser that the tests marked `realserver` talk to: Debian packages, as root.
# Never fails: without them those tests skip, and say so.
set -eu
missing=""
command -v prometheus >/dev/null || missing="$missing prometheus"
command -v prometheus-alertmanager >/dev/null || missing="$missing prometheus-alertmanager"
command -v chromium >/dev/null || missing="$missing chromium fonts-liberation"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "tests/real: NOT INSTALLED:$missing: needs apt-get and root; tests against them will be skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; } ||
    echo "tests/real: NOT INSTALLED:$missing: apt-get failed; tests against them will be skipped" >&2
