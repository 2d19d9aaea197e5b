#!/bin/bash
# The second stage of a builder's boot, run once by loader.sh: install what the AMI lacks and BuildKit, then start it.
# What every boot needs (store, certificate, firewall) is in units that buildkitd.service requires.
set -Eeuo pipefail
trap 'echo "bootstrap.sh failed in line $LINENO: $BASH_COMMAND" >&2' ERR

host=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# From AL2023's own repository, which is in S3; docs/boot.md says how we know what the AMI lacks.
install_packages() {
  local missing=() disks=(/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1)
  command -v iptables >/dev/null || missing+=(iptables-nft)
  ((${#disks[@]} < 2)) || command -v mdadm >/dev/null || missing+=(mdadm)
  if ((${#missing[@]})); then
    dnf install --assumeyes --quiet --setopt=install_weak_deps=False "${missing[@]}"
  fi
}

install_buildkit() {
  local archive=$host/buildkit.tar.gz plugin sum
  # Patiently: another builder in place of this one would take minutes.
  AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=10 \
    aws --region "$AWS_REGION" s3 cp --only-show-errors "$BUILDKIT_ARCHIVE" "$archive"
  sum=$(sha256sum <"$archive")
  if [[ ${sum%% *} != "$BUILDKIT_ARCHIVE_SHA256" ]]; then
    echo "$BUILDKIT_ARCHIVE: got ${sum%% *}, allowed $BUILDKIT_ARCHIVE_SHA256:" \
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

install_units() {
  install -D --mode=0644 --target-directory=/etc/buildkit "$host/buildkitd.toml" "$host/cni.conflist"
  install --mode=0755 "$host/step_runtime.py" /usr/local/bin/buildkit-step-runtime
  install --mode=0644 "$host"/*.service /etc/systemd/system/
  # A unit's stop timeout cannot come from its environment file.
  install -d /etc/systemd/system/buildkitd.service.d
  printf '[Service]\nTimeoutStopSec=%s\n' "$LONGEST_BUILD_SECONDS" >/etc/systemd/system/buildkitd.service.d/stop.conf
  # By this name the host files are a Python package.
  ln --symbolic --force --no-dereference "$host" /opt/cdk_buildkit_host
  systemctl daemon-reload
}

# What takes longest goes on beside the rest.
install_buildkit &
buildkit=$!
install_packages
install_units
# Whether these succeed is asked for when the daemon, which requires them, is started.
systemctl start --no-block builder-store.service builder-certificate.service
wait "$buildkit"
systemctl enable --now buildkitd.service
# Last: it tells the group that this builder serves.
systemctl enable --now builder-drain.service
