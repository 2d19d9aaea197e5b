#!/bin/bash
# The first stage of a builder's boot, carried by its user data: fetch the host files, check their sums, run them.
set -euo pipefail

configuration=/etc/cdk-buildkit
directory=/opt/cdk-buildkit

set -a
# shellcheck source=/dev/null
source "$configuration/environment"
set +a

metadata() {
  local service=http://169.254.169.254/latest token
  token=$(curl --fail --silent --max-time 2 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$service/api/token")
  curl --fail --silent --max-time 2 --header "X-aws-ec2-metadata-token: $token" "$service/meta-data/$1"
}

# A builder that did not boot is replaced, not left half alive. builder-drain.service answers for one that did; for one
# that cannot answer at all the hook's timeout does.
abandon() {
  local code=$? group
  ((code)) || return 0
  echo "the boot failed with code $code: asking for another builder" >&2
  if group=$(metadata tags/instance/aws:autoscaling:groupName); then
    aws --region "$AWS_REGION" autoscaling complete-lifecycle-action --lifecycle-action-result ABANDON \
      --lifecycle-hook-name "$LAUNCHING_HOOK" --auto-scaling-group-name "$group" --instance-id "$(metadata instance-id)"
  fi
  exit "$code"
}
trap abandon EXIT

mkdir -p "$directory"
aws --region "$AWS_REGION" s3 cp --only-show-errors "$HOST_FILES" "$directory/host.zip"
python3 -m zipfile --extract "$directory/host.zip" "$directory"
cd "$directory"
sha256sum --check --strict --quiet "$configuration/host.sha256"
bash bootstrap.sh
