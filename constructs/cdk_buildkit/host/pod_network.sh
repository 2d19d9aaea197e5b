#!/bin/sh
# Before a pod's buildkitd: the firewall in the pod's own network, and of BuildKit's image what stands elsewhere on EC2.
set -eu

host=/opt/cdk_buildkit_host
programs=/opt/cdk-buildkit

iptables-restore --noflush <"$host/firewall.rules"
if [ -e /proc/net/if_inet6 ]; then
  ip6tables-restore --noflush <"$host/firewall-ipv6.rules"
fi

# For the agent, whose image has no BuildKit.
cp "$(command -v buildctl)" "$programs/buildctl"
# By the names that CNI has for them. The links are followed in a container of the same image.
mkdir -p "$programs/cni"
for plugin in bridge firewall host-local loopback; do
  ln -sf "$(command -v "buildkit-cni-$plugin")" "$programs/cni/$plugin"
done
