#!/bin/bash
# Mount BuildKit's store at every boot: on the instance's own NVMe disks, striped, where it has any, else on the
# volume that the launch template attaches. A file system that is there already is kept.
set -euo pipefail

store=/var/lib/buildkit
instance_store_disks=(/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1)
volume=/dev/sdb
stripe=/dev/md/buildkit

if mountpoint --quiet "$store"; then
  exit
fi

if [[ ! -e ${instance_store_disks[0]} ]]; then
  device=$volume
elif ((${#instance_store_disks[@]} == 1)); then
  device=${instance_store_disks[0]}
else
  device=$stripe
  [[ -e $stripe ]] || mdadm --assemble "$stripe" "${instance_store_disks[@]}" ||
    mdadm --create "$stripe" --run --level=0 --raid-devices="${#instance_store_disks[@]}" "${instance_store_disks[@]}"
fi

if ! blkid --match-tag TYPE "$device" >/dev/null; then
  mkfs.xfs -q "$device"
fi
mkdir -p "$store"
mount --options noatime "$device" "$store"
