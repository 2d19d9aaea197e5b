#!/bin/bash
# The second stage of a builder's boot, run once by loader.sh: install what the AMI lacks and the units.
# What every boot needs (store, certificate, firewall) is in units that buildkitd.service requires.
set -Eeuo pipefail
trap 'echo "bootstrap.sh failed in line $LINENO: $BASH_COMMAND" >&2' ERR

host=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# From AL2023's own repository, which is in S3; docs/boot.md says how we know what the AMI lacks.
install_packages() {
  local missing=() disks=(/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1)
  command -v iptables >/dev/null || missing+=(iptables-nft)
  # The daemon runs it for git contexts.
  command -v git >/dev/null || missing+=(git-core)
  ((${#disks[@]} < 2)) || command -v mdadm >/dev/null || missing+=(mdadm)
  if ((${#missing[@]})); then
    dnf install --assumeyes --quiet --setopt=install_weak_deps=False "${missing[@]}"
  fi
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

install_packages
install_units
# Before the others, so that it is stopped after them.
systemctl enable --now builder-logs.service
# Whether these succeed is asked for when the daemon, which requires them, is started.
systemctl start --no-block builder-store.service builder-certificate.service
