#!/bin/sh
# A pod's buildkitd, with the configuration that it has on EC2.
set -eu

configuration=/run/buildkit/buildkitd.toml

# A privileged container sees the node's cgroups, and BuildKit would put its steps at their root, outside of all that the
# pod may use. Beside the container's own they count as the pod's: one that has processes can have none below it.
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
sed "/^\[worker\.oci\]$/a\\  defaultCgroupParent = \"${own%/*}/buildkit\"" /etc/buildkit/buildkitd.toml >"$configuration"

# A container that is started again is not one that leaves.
rm -f /run/buildkit/leaving
# 0 is no limit.
exec buildkitd --config "$configuration" --oci-max-parallelism "$MAX_PARALLELISM"
