#!/bin/sh
# What a pod does before its buildkitd is told to end: it says that it takes no new builds, and serves those that still
# come until every load balancer has heard of it.
set -eu

touch "${1:-/run/buildkit}/leaving"
sleep "$SETTLING_SECONDS"
