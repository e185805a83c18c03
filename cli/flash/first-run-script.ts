import type { GatewaySettings } from './settings.ts'

/** For the inside of a POSIX shell script. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/**
 * `firstrun.sh` of the images before cloud-init: runs once as root, before network and log-ins, and the machine starts
 * anew after it. What the image's own helper can do is left to it; without one (Bullseye and older) the files are
 * written as it would. `settings` are done here only when `all`; otherwise another file has them.
 */
export function firstRunScript(settings: GatewaySettings, all: boolean): string {
  const { hostname, wifi, sshKeys, user } = settings
  const lines = [
    '#!/bin/sh',
    "# Written by 'sluice flash gateway'. Runs once, on the first boot.",
    'set +e',
    'fw=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
    'custom=/usr/lib/raspberrypi-sys-mods/imager_custom',
    // First of all: a script that hangs or fails must not run at every boot from now on.
    'sed -i \'s/ systemd\\.[^ ]*//g\' "$fw/cmdline.txt"',
  ]
  if (all) {
    lines.push(
      `name=${quoted(hostname)}`,
      'before=$(tr -d " \\t\\n\\r" </etc/hostname)',
      'if [ -f "$custom" ]; then "$custom" set_hostname "$name"; else',
      '  echo "$name" >/etc/hostname',
      '  sed -i "s/127.0.1.1.*$before/127.0.1.1\\t$name/g" /etc/hosts',
      'fi',
    )
    if (user !== undefined) lines.push(...renameUser(user))
    if (sshKeys.length > 0) lines.push(...allowKeys(sshKeys))
    if (wifi !== undefined) lines.push(...joinWifi(wifi))
  }
  if (settings.bundle !== undefined) {
    // Nothing can be started this early; the service starts with the boot that follows.
    lines.push('SLUICE_FIRST_BOOT_START=no sh "$fw/sluice/first-boot.sh"')
  }
  // It may have held a Wi-Fi passphrase.
  lines.push('rm -f "$fw/firstrun.sh"', 'sync', 'exit 0')
  return `${lines.join('\n')}\n`
}

const renameUser = (user: string): string[] => [
  `user=${quoted(user)}`,
  'first=$(getent passwd 1000 | cut -d: -f1)',
  'if [ -n "$first" ] && [ "$first" != "$user" ]; then',
  '  usermod -l "$user" "$first" && usermod -m -d "/home/$user" "$user" && groupmod -n "$user" "$first"',
  'elif [ -z "$first" ]; then useradd -m -u 1000 -s /bin/bash -G sudo,dialout "$user"; fi',
  // There is no password: keys let in, and sudo must not ask for one.
  'usermod -L "$user"',
  'echo "$user ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/010_sluice && chmod 440 /etc/sudoers.d/010_sluice',
  'systemctl disable userconfig 2>/dev/null',
]

const allowKeys = (keys: readonly string[]): string[] => [
  'first=$(getent passwd 1000 | cut -d: -f1)',
  'home=$(getent passwd 1000 | cut -d: -f6)',
  'install -d -m 700 -o "$first" -g "$first" "$home/.ssh"',
  `printf '%s\\n' ${keys.map(quoted).join(' ')} >"$home/.ssh/authorized_keys"`,
  'chown "$first:$first" "$home/.ssh/authorized_keys" && chmod 600 "$home/.ssh/authorized_keys"',
  "mkdir -p /etc/ssh/sshd_config.d && echo 'PasswordAuthentication no' >/etc/ssh/sshd_config.d/10-sluice.conf",
  'systemctl enable ssh',
]

function joinWifi({ ssid, passphrase, country, hidden }: NonNullable<GatewaySettings['wifi']>): string[] {
  const given = `${quoted(ssid)} ${quoted(passphrase ?? '')} ${quoted(country)}`
  const network = [
    `  ssid=${Buffer.from(ssid).toString('hex')}`,
    hidden ? '  scan_ssid=1' : '',
    passphrase === undefined ? '  key_mgmt=NONE' : `  psk=${passphrase.length === 64 ? passphrase : `"${passphrase}"`}`,
  ].filter((line) => line !== '')
  const supplicant = [
    `country=${country}`,
    'ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev',
    'network={',
    ...network,
    '}',
  ]
  return [
    `if [ -f "$custom" ]; then "$custom" set_wlan ${hidden ? '-h ' : ''}${given}; else`,
    `  (umask 077 && printf '%s\\n' ${supplicant.map(quoted).join(' ')} >/etc/wpa_supplicant/wpa_supplicant.conf)`,
    '  rfkill unblock wifi 2>/dev/null',
    '  for file in /var/lib/systemd/rfkill/*:wlan; do [ -e "$file" ] && echo 0 >"$file"; done',
    'fi',
  ]
}
