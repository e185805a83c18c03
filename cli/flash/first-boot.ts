import { createHash } from 'node:crypto'
import { SluiceError } from '../../api/errors.ts'
import type { FatVolume } from './fat.ts'
import { ALL_PLACES, firstBootScript } from './first-boot-script.ts'
import { firstRunScript } from './first-run-script.ts'
import type { InitFormat } from './init-format.ts'
import type { GatewaySettings, Wifi } from './settings.ts'

/** Folder on the boot partition for everything of ours. */
export const CARD_FOLDER = 'sluice'
const MAX_CMDLINE_BYTES = 4096
const MAX_TEMPLATE_BYTES = 256 * 1024

/** Writes everything a gateway needs for its first boot onto the boot partition, in the image's own format. */
export function writeFirstBoot(volume: FatVolume, format: InitFormat, settings: GatewaySettings): readonly string[] {
  const files = new Map<string, string | Uint8Array>()
  if (settings.bundle !== undefined) {
    files.set(`${CARD_FOLDER}/bundle.tar.gz`, settings.bundle.content)
    files.set(`${CARD_FOLDER}/first-boot.sh`, firstBootScript(settings.bundle.sha256))
    if (settings.token !== undefined) files.set(`${CARD_FOLDER}/join.token`, `${settings.token}\n`)
  }
  for (const [path, content] of inFormat(volume, format, settings)) files.set(path, content)
  for (const [path, content] of files) {
    volume.write(path, typeof content === 'string' ? Buffer.from(content) : content)
  }
  return [...files.keys()]
}

function inFormat(volume: FatVolume, format: InitFormat, settings: GatewaySettings): Map<string, string> {
  switch (format) {
    case 'cloudinit':
    case 'cloudinit-rpi':
      return cloudInit(volume, settings)
    case 'rpi-preseed':
      return new Map([['rpi-preseed.toml', preseed(settings, '"1.1"', settings.bundle !== undefined)]])
    case 'custom-toml':
      return new Map([['custom.toml', preseed(settings, '1', false)], ...kernelRun(volume, settings, false)])
    case 'systemd':
      return kernelRun(volume, settings, true)
  }
}

/**
 * cloud-init's NoCloud files. JSON is YAML, so nothing a person typed can break out of its place. What the image has in
 * `user-data` beyond comments is kept as `user-data.orig`: Ubuntu's lets `ubuntu` in with a password that all know.
 */
function cloudInit(volume: FatVolume, { hostname, wifi, sshKeys, user, bundle }: GatewaySettings): Map<string, string> {
  const files = new Map<string, string>()
  const before = volume.read('user-data', MAX_TEMPLATE_BYTES)?.toString('utf8')
  if (before !== undefined && /^\s*[^#\s]/m.test(before)) files.set('user-data.orig', before)
  const login = {
    name: user,
    groups: ['adm', 'sudo', 'dialout', 'plugdev', 'netdev'],
    shell: '/bin/bash',
    lock_passwd: true,
    // A locked password cannot be typed at sudo either.
    sudo: 'ALL=(ALL) NOPASSWD:ALL',
    ssh_authorized_keys: sshKeys,
  }
  const userData = {
    hostname,
    manage_etc_hosts: true,
    preserve_hostname: false,
    ssh_pwauth: false,
    ...(user === undefined ? (sshKeys.length === 0 ? {} : { ssh_authorized_keys: sshKeys }) : { users: [login] }),
    ...(sshKeys.length === 0 ? {} : { enable_ssh: true }),
    ...(bundle === undefined ? {} : { runcmd: [['sh', '-c', ALL_PLACES]] }),
  }
  // Only Raspberry Pi's own cloud-init knows enable_ssh; there SSH is off until somebody wants it.
  const { enable_ssh, ...standard } = userData
  const rpi = volume.has('config.txt') && volume.has('issue.txt')
  const text = JSON.stringify(rpi && enable_ssh ? { ...standard, enable_ssh } : standard, null, 2)
  files.set('user-data', `#cloud-config\n${text}\n`)
  // A new id makes cloud-init take the files for those of a new machine.
  const id = createHash('sha256').update(text).digest('hex').slice(0, 12)
  files.set(
    'meta-data',
    `${JSON.stringify({ 'instance-id': `sluice-${hostname}-${id}`, 'local-hostname': hostname, dsmode: 'local' })}\n`,
  )
  if (wifi !== undefined) files.set('network-config', `${JSON.stringify(netplan(wifi), null, 2)}\n`)
  return files
}

function netplan({ ssid, passphrase, country, hidden }: Wifi) {
  const point = { ...(passphrase === undefined ? {} : { password: passphrase }), ...(hidden ? { hidden: true } : {}) }
  return {
    version: 2,
    ethernets: { wired: { match: { name: 'e*' }, dhcp4: true, dhcp6: true, optional: true } },
    wifis: { wlan0: { dhcp4: true, optional: true, 'regulatory-domain': country, 'access-points': { [ssid]: point } } },
  }
}

/** The two TOML files of Raspberry Pi share their tables; only the newer one runs commands. */
function preseed({ hostname, wifi, sshKeys, user }: GatewaySettings, version: string, runs: boolean): string {
  const lines = [`config_version = ${version}`, '', '[system]', `hostname = ${toml(hostname)}`]
  if (user !== undefined) lines.push('', '[user]', `name = ${toml(user)}`)
  if (sshKeys.length > 0) {
    lines.push('', '[ssh]', 'enabled = true', 'password_authentication = false')
    lines.push(`authorized_keys = [${sshKeys.map(toml).join(', ')}]`)
  }
  if (wifi !== undefined) {
    lines.push('', '[wlan]', `ssid = ${toml(wifi.ssid)}`)
    // Encrypted is the default there.
    if (wifi.passphrase !== undefined) lines.push(`password = ${toml(wifi.passphrase)}`, 'password_encrypted = false')
    lines.push(`hidden = ${wifi.hidden}`, `country = ${toml(wifi.country)}`)
  }
  if (runs) lines.push('', '[runcmd]', `late = [${toml(ALL_PLACES)}]`, 'late_retries = 3')
  return `${lines.join('\n')}\n`
}

/** Basic strings of TOML; only the two escapes that rpi-preseed's own small parser knows. Nothing here has controls. */
const toml = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`

/** A script that systemd runs before anything else on one boot, asked for on the kernel's command line. */
function kernelRun(volume: FatVolume, settings: GatewaySettings, all: boolean): Map<string, string> {
  if (!all && settings.bundle === undefined) return new Map()
  const before = volume.read('cmdline.txt', MAX_CMDLINE_BYTES)?.toString('utf8')
  if (before === undefined) {
    throw new SluiceError('SLUICE_FLASH_FORMAT_CONFLICT', 'The image has no cmdline.txt to start a script from', {
      hint: 'It is not what --init-format says; leave that out.',
    })
  }
  const kept = before
    .split(/\s+/)
    .filter((word) => word !== '' && !/^systemd\.(run|run_success_action|run_failure_action|unit)=/.test(word))
  // Bookworm moved the partition; its kernel finds the script through the link that is left at /boot.
  const place = kept.some((word) => word.includes('raspberrypi-sys-mods')) ? '/boot/firmware' : '/boot'
  const added = [
    `systemd.run=${place}/firstrun.sh`,
    'systemd.run_success_action=reboot',
    'systemd.unit=kernel-command-line.target',
  ]
  return new Map([
    ['cmdline.txt', `${[...kept, ...added].join(' ')}\n`],
    ['firstrun.sh', firstRunScript(settings, all)],
  ])
}
