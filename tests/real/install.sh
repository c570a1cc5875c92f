#!/bin/sh
# Installs the real servers that tests/real talks to. Needs root and Debian's packages; without them those tests skip.
set -eu
if command -v prometheus >/dev/null && command -v prometheus-alertmanager >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "tests/real: NOT INSTALLED: this needs apt-get and root; the tests against real servers will be skipped" >&2
    exit 0
fi
apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager >/dev/null ||
    echo "tests/real: NOT INSTALLED: apt-get failed; the tests against real servers will be skipped" >&2
