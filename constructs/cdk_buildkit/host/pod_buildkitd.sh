#!/bin/sh
# A pod's buildkitd, with the configuration that it has on EC2.
set -eu

configuration=${1:-/etc/buildkit/buildkitd.toml}
run=${2:-/run/buildkit}
cgroups=${3:-/proc/self/cgroup}

# A privileged container sees the node's cgroups, and BuildKit would put its steps at their root, outside of all that the
# pod may use. Beside the container's own they count as the pod's: one that has processes can have none below it.
own=$(sed -n 's/^0:://p' "$cgroups")
parent=${own%/*}
sed "s|^\[worker\.oci\]\$|&\\
  defaultCgroupParent = \"${parent:-/}\"|" "$configuration" >"$run/buildkitd.toml"

# A container that is started again is not one that leaves.
rm -f "$run/leaving"
# 0 is no limit.
exec buildkitd --config "$run/buildkitd.toml" --oci-max-parallelism "$MAX_PARALLELISM"
