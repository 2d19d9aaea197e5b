#!/bin/bash
# The first stage of a builder's boot, carried by its user data: fetch the host files, check their sums, run them.
set -euo pipefail

configuration=/etc/cdk-buildkit
directory=/opt/cdk-buildkit

set -a
# shellcheck source=/dev/null
source "$configuration/environment"
set +a

mkdir -p "$directory"
aws --region "$AWS_REGION" s3 cp --only-show-errors "$HOST_FILES" "$directory/host.zip"
python3 -m zipfile --extract "$directory/host.zip" "$directory"
cd "$directory"
sha256sum --check --strict --quiet "$configuration/host.sha256"
exec bash bootstrap.sh
