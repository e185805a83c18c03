#!/bin/sh
# Runs a command as root of a small machine of its own: test/flash/machine.ts. The machine's folder is $1.
# /usr is this system's and read-only, everything else is the machine's.
set -eu
machine=$1
shift
for name in bin sbin lib lib64; do
  if [ -L "/$name" ] && [ ! -L "$machine/$name" ]; then ln -s "usr/$name" "$machine/$name"; fi
done
mkdir -p "$machine/usr" "$machine/proc" "$machine/dev" "$machine/tmp" "$machine/run" "$machine/var/tmp" "$machine/local/bin"
mount --bind /usr "$machine/usr"
mount -o remount,bind,ro "$machine/usr"
mount --bind "$machine/local" "$machine/usr/local"
mount -t proc proc "$machine/proc"
mount --rbind /dev "$machine/dev"
exec chroot "$machine" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/root "$@"
