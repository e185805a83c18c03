/** Starts our script wherever the image mounts its boot partition. A constant: nothing from outside is in it. */
export const ALL_PLACES =
  'for d in /boot/firmware /boot /boot/efi; do if [ -f $d/sluice/first-boot.sh ]; then exec sh $d/sluice/first-boot.sh; fi; done; exit 1'

/**
 * The script that installs Sluice from the card on the first boot, for any POSIX shell. It needs tar, gzip and
 * sha256sum, fetches nothing, runs again on the next boot after a cut at any line (cloud-init and kernel would not: they
 * ran it once), and leaves its words on the card where a person can read them with any computer. `sha256` is that of `bundle.tar.gz`, so that a card that rots is noticed.
 */
export const firstBootScript = (sha256: string): string => `#!/bin/sh
# Written by 'sluice flash gateway'. Installs the agent from this card and lets it join.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
done_mark=/var/lib/sluice-first-boot.done
log="$here/first-boot.log"
if [ -e "$done_mark" ]; then exit 0; fi

say() { echo "sluice first boot: $*" | tee -a "$log" 2>/dev/null || true; }
fail() { say "FAILED: $*"; sync; exit 1; }

# Whoever ran this may never do so again: a power cut from here on is made up for by the next boot.
unit=/etc/systemd/system/sluice-first-boot.service
wanted=/etc/systemd/system/multi-user.target.wants
mkdir -p "$wanted"
cat >"$unit" <<UNIT
[Unit]
Description=First boot of a Sluice gateway, again
ConditionPathExists=!$done_mark
RequiresMountsFor=$here /var

[Service]
Type=oneshot
StandardOutput=journal+console
ExecStart=/bin/sh $here/first-boot.sh
UNIT
ln -sf ../sluice-first-boot.service "$wanted/sluice-first-boot.service"
sync

work=$(mktemp -d /var/tmp/sluice-first-boot.XXXXXX)
trap 'rm -rf "$work"' EXIT

say "checking the bundle"
[ -f "$here/bundle.tar.gz" ] || fail "bundle.tar.gz is not on the card"
sum=$(sha256sum <"$here/bundle.tar.gz" | cut -d ' ' -f 1)
[ "$sum" = "${sha256}" ] || fail "bundle.tar.gz is damaged (SHA-256 $sum)"

say "unpacking"
tar -xzf "$here/bundle.tar.gz" -C "$work" --no-same-owner || fail "the bundle cannot be unpacked; is the card full?"
case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
node="$work/node_modules/node-linux-$arch/bin/node"
[ -x "$node" ] || fail "the bundle has no Node for this machine ($(uname -m)); make one with: sluice flash bundle --arch"

say "installing"
set -- install --from "$work"
if [ -f "$here/join.token" ]; then
  # The boot partition knows no modes; installing refuses a token that others can read.
  (umask 077 && cp "$here/join.token" "$work/join.token")
  set -- "$@" --join-token-file "$work/join.token"
fi
if [ "\${SLUICE_FIRST_BOOT_START:-yes}" = no ]; then set -- "$@" --no-start; fi
"$node" "$work/node_modules/sluice/bin/sluice.mjs" "$@" >"$work/install.log" 2>&1 || {
  tail -n 20 "$work/install.log" >>"$log" 2>/dev/null || true
  fail "sluice install did not succeed"
}
cat "$work/install.log"

# The token is good for one gateway once; it goes all the same, and its blocks are overwritten first.
if [ -f "$here/join.token" ]; then
  size=$(wc -c <"$here/join.token")
  dd if=/dev/zero of="$here/join.token" bs=1 count="$size" conv=notrunc 2>/dev/null || true
  sync
  rm -f "$here/join.token"
fi
rm -f "$here/bundle.tar.gz"
mkdir -p "$(dirname "$done_mark")"
: >"$done_mark"
rm -f "$unit" "$wanted/sluice-first-boot.service"
sync
say "done"
sync
`
