#!/bin/bash
# A builder's boot, carried by its user data: fetch BuildKit and the host files, check their sums, run bootstrap.sh from
# them, start the services.
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

install_buildkit() {
  local archive=$directory/buildkit.tar.gz plugin got=nothing
  # Patiently: another builder in place of this one would take minutes.
  if AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=10 \
    aws --region "$AWS_REGION" s3 cp --only-show-errors "$BUILDKIT_ARCHIVE" "$archive"; then
    got=$(sha256sum <"$archive")
  fi
  if [[ ${got%% *} != "$BUILDKIT_ARCHIVE_SHA256" ]]; then
    echo "$BUILDKIT_ARCHIVE: got ${got%% *}, allowed $BUILDKIT_ARCHIVE_SHA256:" \
      "put the archive of that sum there with \`aws s3 cp\`" >&2
    return 1
  fi
  tar --extract --gzip --file "$archive" --directory /usr/local
  rm "$archive"
  # In a directory of their own, by the names that CNI has for them.
  install -d /opt/cni/bin
  for plugin in /usr/local/bin/buildkit-cni-*; do
    ln --symbolic --force "$plugin" "/opt/cni/bin/${plugin##*/buildkit-cni-}"
  done
}

mkdir -p "$directory"
# What takes longest goes on beside the rest.
install_buildkit &
buildkit=$!
aws --region "$AWS_REGION" s3 cp --only-show-errors "$HOST_FILES" "$directory/host.zip"
python3 -m zipfile --extract "$directory/host.zip" "$directory"
cd "$directory"
sha256sum --check --strict --quiet "$configuration/host.sha256"
bash bootstrap.sh
wait "$buildkit"
systemctl enable --now buildkitd.service
systemctl enable --now builder-agent.service
# Last: it tells the group that this builder serves.
systemctl enable --now builder-drain.service
