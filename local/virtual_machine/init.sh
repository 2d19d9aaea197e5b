#!/bin/bash
# The first program of a virtual machine: lay a root that forgets over the host's files, add the machine's own, and be
# systemd. The kernel passes `machine`, the directory that the host's side shares, as an environment variable.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin

root=/mnt/root
for module in drivers/md/md-mod drivers/md/raid0 fs/overlayfs/overlay; do
  insmod /usr/lib/uml/modules/"$(uname -r)"/kernel/$module.ko
done
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay "$root"
rm -rf "$root"/etc/systemd/system "$root"/var/lib/buildkit
mkdir -p "$root"/etc/systemd/system "$root"/host
mount -t hostfs -o "${machine:?}" none "$root/host"
cp -R "$root"/host/files/. "$root"
mount -t sysfs sysfs "$root/sys"
mount -t devtmpfs devtmpfs "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
exec chroot "$root" /lib/systemd/systemd --unit=check.service --show-status=no
