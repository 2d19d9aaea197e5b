#!/bin/bash
# The least that a boot has to do: unpack the archive and start the daemon, with all that it needs in place.
set -euo pipefail

# shellcheck source=/dev/null
source /etc/cdk-buildkit/environment
tar --extract --gzip --file "$ARCHIVE" --directory /usr/local
# By these names its configuration looks for the network's plugins.
install -d /opt/cni/bin
for plugin in /usr/local/bin/buildkit-cni-*; do
  ln --symbolic --force "$plugin" "/opt/cni/bin/${plugin##*/buildkit-cni-}"
done
/usr/local/bin/buildkitd --config /etc/buildkit/buildkitd.toml &
