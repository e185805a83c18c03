import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { promisify } from 'node:util'
import { SluiceError } from '../../api/errors.ts'

/** One entry of lsblk's tree: a disk, a partition, or what is built on top of them. */
export interface BlockDevice {
  readonly name: string
  readonly path: string
  readonly type: string
  readonly sizeBytes: number
  readonly removable: boolean
  readonly readOnly: boolean
  readonly hotplug: boolean
  readonly mountpoints: readonly string[]
  readonly model: string | undefined
  readonly transport: string | undefined
  readonly filesystem: string | undefined
  /** `8:0`, as in `stat`. */
  readonly number: string
  readonly children: readonly BlockDevice[]
}

const COLUMNS = 'NAME,PATH,TYPE,SIZE,RM,RO,HOTPLUG,MOUNTPOINTS,MODEL,TRAN,PKNAME,FSTYPE,MAJ:MIN'
const LSBLK_ARGV = ['--json', '--bytes', '--output', COLUMNS] as const
const MAX_DEPTH = 16
const LSBLK_TIMEOUT_MS = 10_000
const MAX_LSBLK_BYTES = 4 * 1024 * 1024

/** The block devices of this machine. Throws SLUICE_FLASH_TOOL. */
export async function listDevices(signal: AbortSignal): Promise<readonly BlockDevice[]> {
  try {
    const { stdout } = await promisify(execFile)('lsblk', LSBLK_ARGV, {
      signal,
      timeout: LSBLK_TIMEOUT_MS,
      maxBuffer: MAX_LSBLK_BYTES,
    })
    return parseLsblk(stdout)
  } catch (cause) {
    signal.throwIfAborted()
    throw new SluiceError('SLUICE_FLASH_TOOL', `The disks cannot be listed with lsblk: ${String(cause)}`, {
      hint: 'Debian: apt-get install util-linux (2.37 or newer). Flashing works on Linux.',
      cause,
    })
  }
}

/** lsblk's JSON; what is not as expected is left out or taken for the less harmless. */
export function parseLsblk(text: string): readonly BlockDevice[] {
  const whole = JSON.parse(text) as unknown
  const list = isRecord(whole) ? whole['blockdevices'] : undefined
  return Array.isArray(list) ? list.flatMap((each) => deviceOf(each, 0)) : []
}

function deviceOf(raw: unknown, depth: number): BlockDevice[] {
  if (!isRecord(raw) || depth > MAX_DEPTH) return []
  const text = (key: string) => {
    const value = raw[key]
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
  }
  // Older versions write numbers and booleans as text.
  const yes = (key: string) => raw[key] === true || raw[key] === '1'
  const path = text('path')
  if (path === undefined) return []
  const mounts = Array.isArray(raw['mountpoints']) ? raw['mountpoints'] : [raw['mountpoint']]
  const children = Array.isArray(raw['children']) ? raw['children'] : []
  return [
    {
      name: text('name') ?? path,
      path,
      type: text('type') ?? 'unknown',
      sizeBytes: Number(raw['size']) || 0,
      removable: yes('rm'),
      readOnly: yes('ro'),
      hotplug: yes('hotplug'),
      mountpoints: mounts.filter((each): each is string => typeof each === 'string'),
      model: text('model'),
      transport: text('tran'),
      filesystem: text('fstype'),
      number: text('maj:min') ?? '',
      children: children.flatMap((each) => deviceOf(each, depth + 1)),
    },
  ]
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A device and everything on top of it. */
export const withDescendants = (device: BlockDevice): readonly BlockDevice[] => [
  device,
  ...device.children.flatMap(withDescendants),
]

export interface Wish {
  /** Of the unpacked image. */
  readonly imageBytes: number
  readonly imagePath: string | undefined
  readonly allowLarge: boolean
  readonly allowFixed: boolean
}

export interface Objection {
  readonly reason: string
  /** Option that overrules it; where there is none nothing does. */
  readonly unless?: '--allow-large' | '--allow-fixed'
}

/** Beyond it is more likely somebody's backup than a gateway's card. */
export const LARGE_BYTES = 256 * 1024 ** 3
/** Where desktops put what is plugged in; only from there is anything unmounted by itself. */
const AUTOMOUNTED = /^\/(media|run\/media)\//
const SYSTEM_MOUNT =
  /^\/($|boot($|\/)|usr($|\/)|var($|\/)|etc($|\/)|home($|\/)|opt($|\/)|srv($|\/)|nix($|\/)|efi($|\/))/
const MEMBER =
  /^(LVM2_member|linux_raid_member|isw_raid_member|ddf_raid_member|zfs_member|bcache|ceph_bluestore|drbd|VMFS_volume_member)$/
const BUILT_UPON = /^(lvm|raid|md|crypt|dm|mpath|dmraid|bcache)/

/** Everything that speaks against writing to this disk; empty for a candidate. */
export function objectionsTo(disk: BlockDevice, wish: Wish): readonly Objection[] {
  const found: Objection[] = []
  const all = withDescendants(disk)
  const mounts = all.flatMap(({ mountpoints }) => mountpoints)
  if (disk.type === 'part') found.push({ reason: 'it is a partition; name the whole disk' })
  else if (disk.type !== 'disk' && disk.type !== 'loop') found.push({ reason: `it is no disk but '${disk.type}'` })
  if (mounts.some((mount) => SYSTEM_MOUNT.test(mount))) {
    found.push({
      reason: `this system runs from it (${mounts.filter((mount) => SYSTEM_MOUNT.test(mount)).join(', ')})`,
    })
  } else {
    const elsewhere = mounts.filter((mount) => mount !== '[SWAP]' && !AUTOMOUNTED.test(mount))
    if (elsewhere.length > 0) found.push({ reason: `it is mounted at ${elsewhere.join(', ')}; unmount it first` })
  }
  if (mounts.includes('[SWAP]')) found.push({ reason: 'this system swaps to it' })
  const member = all.find(({ filesystem }) => filesystem !== undefined && MEMBER.test(filesystem))
  const above = all.find(({ type }) => BUILT_UPON.test(type))
  if (member !== undefined)
    found.push({ reason: `${member.path} is part of a volume group or array (${member.filesystem})` })
  else if (above !== undefined) found.push({ reason: `${above.path} (${above.type}) is in use on it` })
  if (wish.imagePath !== undefined && holds(all, wish.imagePath)) found.push({ reason: 'the image itself lies on it' })
  if (disk.readOnly) found.push({ reason: 'it is read-only; a card may have a switch for that' })
  if (disk.sizeBytes === 0) found.push({ reason: 'there is no card in it' })
  else if (disk.sizeBytes < wish.imageBytes) {
    found.push({ reason: `it has ${gigabytes(disk.sizeBytes)}, the image needs ${gigabytes(wish.imageBytes)}` })
  }
  if (disk.sizeBytes > LARGE_BYTES && !wish.allowLarge) {
    found.push({ reason: `it is suspiciously large (${gigabytes(disk.sizeBytes)})`, unless: '--allow-large' })
  }
  if (!isRemovable(disk) && !wish.allowFixed) {
    found.push({ reason: 'it is not removable', unless: '--allow-fixed' })
  }
  return found
}

/** USB disks do not all say that they are removable, and card readers on the board do not; both can be plugged. */
const isRemovable = (disk: BlockDevice): boolean =>
  disk.removable || (disk.hotplug && (disk.transport === 'usb' || disk.name.startsWith('mmcblk')))

function holds(devices: readonly BlockDevice[], path: string): boolean {
  try {
    const { dev } = statSync(path)
    // The kernel's encoding of user space (glibc, gnu_dev_major).
    const major = ((dev >>> 8) & 0xfff) | (Math.floor(dev / 2 ** 32) & ~0xfff)
    const minor = (dev & 0xff) | ((Math.floor(dev / 2 ** 12) >>> 0) & ~0xff)
    return devices.some(({ number }) => number === `${major}:${minor}`)
  } catch {
    return false
  }
}

/** Mount points that are taken away before writing. */
export const automounted = (disk: BlockDevice): readonly string[] =>
  withDescendants(disk).flatMap(({ mountpoints }) => mountpoints.filter((mount) => AUTOMOUNTED.test(mount)))

/** As it is printed on cards: powers of ten. */
export const gigabytes = (bytes: number): string =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`

/** What a person calls it: its model, or its path where it does not tell one. */
export const titleOf = (disk: BlockDevice): string => disk.model ?? disk.path
