#!/bin/bash
# A builder's boot, carried by its user data: fetch BuildKit and the host files, check their sums, run bootstrap.sh from
# them, start the services.
set -euo pipefail

configuration=/etc/cdk-buildkit
directory=/opt/cdk-buildkit
console=/run/cdk-buildkit-boot.log

set -a
# shellcheck source=/dev/null
source "$configuration/environment"
set +a

metadata() {
  local service=http://169.254.169.254/latest token
  token=$(curl --fail --silent --max-time 2 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$service/api/token")
  curl --fail --silent --max-time 2 --header "X-aws-ec2-metadata-token: $token" "$service/meta-data/$1"
}

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

boot() {
  mkdir -p "$directory"
  # What takes longest goes on beside the rest, in a process group of its own: a boot that fails does not wait for it.
  set -m
  install_buildkit &
  buildkit=$!
  set +m
  trap 'kill -- "-$buildkit" 2>/dev/null || true' EXIT
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
}

# What this boot has printed, beside what builder-logs.service sends. Without the host files, that is all there is.
send_console() {
  local put=(--region "$AWS_REGION" --cli-connect-timeout 5 --cli-read-timeout 15
    --log-group-name "$LOG_GROUP" --log-stream-name "$1")
  python3 "$configuration/log_events.py" boot <"$console" >"$console.json"
  aws logs create-log-stream "${put[@]}" 2>/dev/null || true # there already, from builder-logs.service
  aws logs put-log-events "${put[@]}" --log-events "file://$console.json" >/dev/null
}

# A builder that did not boot is replaced, not left half alive, and its logs are sent before it goes. For one that did
# builder-drain.service answers; for one that cannot answer at all the hook's timeout does.
end() {
  local code=$? group instance
  instance=$(metadata instance-id) || exit "$code"
  if ((code == 0)); then
    printf '{"event": "booted", "seconds": %d}\n' "$SECONDS" | tee --append "$console"
  else
    printf '{"event": "boot_failed", "code": %d, "seconds": %d}\n' "$code" "$SECONDS" | tee --append "$console"
    # Stopped, it sends its last lines.
    if systemctl is-active --quiet builder-logs.service; then systemctl stop builder-logs.service; fi
  fi
  send_console "$instance" || echo "the console could not be sent to $LOG_GROUP" >&2
  if ((code)) && group=$(metadata tags/instance/aws:autoscaling:groupName); then
    echo "the boot failed with code $code: asking for another builder" >&2
    aws --region "$AWS_REGION" autoscaling complete-lifecycle-action --lifecycle-action-result ABANDON \
      --lifecycle-hook-name "$LAUNCHING_HOOK" --auto-scaling-group-name "$group" --instance-id "$instance"
  fi
  exit "$code"
}
trap end EXIT

# The builder of a boot proof is launched as all others are. Whatever watches the fleet must not take it for one of them.
if metadata tags/instance/cdk-buildkit:proof >/dev/null; then
  FLEET=proof.$FLEET
  echo "FLEET=$FLEET" >>"$configuration/environment"
fi
boot 2>&1 | tee "$console"
