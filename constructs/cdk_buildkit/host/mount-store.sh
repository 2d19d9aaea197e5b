#!/bin/bash
# Mount BuildKit's store at every boot: on the instance's own NVMe disks, striped, where it has any, else on the
# volume that the launch template attaches.
#
# A store that is there is kept. One is made on blank disks alone: at the first boot, and after a stop, which empties
# the instance's own. A store that does not mount is made anew, as it is a cache. All else is left as it is, an array
# that lacks a disk and what no builder made: the unit fails then, and the builder is replaced.
set -euo pipefail
shopt -s nullglob

store=/var/lib/buildkit
label=buildkit
stripe=/dev/md/buildkit
# The links are those of amazon-ec2-utils, which the AMI has. On Nitro this one leads to an NVMe device of any number.
volume=/dev/sdb
volume_patience_seconds=30

fail() {
  echo "there is no store: $*" >&2
  exit 1
}

mountpoint --quiet "$store" && exit

# At a reboot udev is still at work, on the links and on assembling the array.
udevadm settle
instance_store=(/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1)

case ${#instance_store[@]} in
0)
  device=$volume
  for ((second = 0; second < volume_patience_seconds; second++)); do
    [[ ! -e $volume ]] || break
    sleep 1
  done
  [[ -e $volume ]] || fail "no NVMe disk of the instance, and no $volume in $volume_patience_seconds s; found" /dev/disk/by-id/*
  ;;
1)
  device=${instance_store[0]}
  ;;
*)
  device=$stripe
  signatures=$(wipefs --noheadings "${instance_store[@]}")
  if [[ -z $signatures ]]; then
    # The host's name is not part of the array's: at the next boot it may be another.
    mdadm --create "$stripe" --run --homehost=any --level=0 --raid-devices="${#instance_store[@]}" "${instance_store[@]}"
  elif [[ ! -e $stripe ]]; then
    mdadm --assemble "$stripe" "${instance_store[@]}" || fail "what is on the disks is no array of all of them: $signatures"
  fi
  ;;
esac

signatures=$(wipefs --noheadings "$device")
if [[ -z $signatures ]]; then
  # Without discarding: new disks are empty, and it takes long.
  mkfs.xfs -q -K -L "$label" "$device"
elif [[ $(blkid --probe --match-tag LABEL --output value "$device") != "$label" ]]; then
  fail "what is on $device was not made by a builder: $signatures"
fi

mkdir -p "$store"
if ! mount --options noatime "$device" "$store"; then
  echo "the store on $device does not mount: making it anew" >&2
  mkfs.xfs -q -K -f -L "$label" "$device"
  mount --options noatime "$device" "$store"
fi
