import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const MIB = 1024 * 1024
const BOOT_START = 4 * MIB

export interface ImageOptions {
  /** Of the FAT partition. */
  readonly bootMib?: number
  readonly fat?: 16 | 32
  readonly table?: 'dos' | 'gpt'
  /** On the boot partition. */
  readonly files?: Readonly<Record<string, string>>
  /** Mebibytes of noise in a second partition. */
  readonly rootMib?: number
}

/** What lies on the boot partition of a Raspberry Pi OS of 2024, as far as it decides anything. */
export const BOOKWORM: Readonly<Record<string, string>> = {
  'cmdline.txt':
    'console=serial0,115200 root=PARTUUID=aa-02 rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n',
  'config.txt': 'arm_64bit=1\n',
  'issue.txt': 'Raspberry Pi reference 2024-11-19\n',
}

export const TRIXIE: Readonly<Record<string, string>> = {
  'cmdline.txt': 'console=serial0,115200 root=PARTUUID=aa-02 rootwait quiet\n',
  'config.txt': 'arm_64bit=1\n',
  'issue.txt': 'Raspberry Pi reference 2025-11-24\n',
  'user-data': '#cloud-config\n# hostname: raspberrypi\n',
  'meta-data': 'instance-id: rpios-image\n',
  'network-config': '# network:\n',
}

/** Makes an image with the tools of others: sfdisk, mkfs.vfat, mcopy. Resolves nothing; the file is there after it. */
export function makeImage(path: string, options: ImageOptions = {}): void {
  const { bootMib = 36, fat = 32, table = 'dos', files = BOOKWORM, rootMib = 5 } = options
  writeFileSync(path, '')
  truncateSync(path, BOOT_START + (bootMib + rootMib + 1) * MIB)
  const boot = table === 'dos' ? 'c' : 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B'
  const root = table === 'dos' ? '83' : '0FC63DAF-8483-4772-8E79-3D69D8477DE4'
  const sectors = (mib: number) => (mib * MIB) / 512
  const script = [
    `label: ${table}`,
    `start=${BOOT_START / 512}, size=${sectors(bootMib)}, type=${boot}`,
    `start=${BOOT_START / 512 + sectors(bootMib)}, size=${sectors(rootMib)}, type=${root}`,
  ]
  execFileSync('sfdisk', ['--quiet', path], { input: `${script.join('\n')}\n`, stdio: ['pipe', 'ignore', 'ignore'] })
  const argv = ['-F', String(fat), ...(fat === 32 ? ['-s', '1'] : []), '-n', 'BOOTFS', '--offset']
  execFileSync('mkfs.vfat', [...argv, String(BOOT_START / 512), path, String(bootMib * 1024)], { stdio: 'ignore' })
  const folder = mkdtempSync(join(tmpdir(), 'sluice-image-'))
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), content)
    }
    const names = Object.keys(files).map((name) => join(folder, name))
    if (names.length > 0) execFileSync('mcopy', ['-i', `${path}@@${BOOT_START}`, ...names, '::'])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What mtools finds in a file of the boot partition. */
export const fileOnCard = (card: string, name: string): string =>
  execFileSync('mtype', ['-i', `${card}@@${BOOT_START}`, `::${name}`], { encoding: 'utf8', maxBuffer: 64 * MIB })

export function copyFromCard(card: string, name: string, into: string): void {
  mkdirSync(into, { recursive: true })
  execFileSync('mcopy', ['-n', '-s', '-i', `${card}@@${BOOT_START}`, `::${name}`, into])
}

/** Names in a folder of the boot partition. */
export const filesOnCard = (card: string, folder: string): string[] =>
  execFileSync('mdir', ['-b', '-i', `${card}@@${BOOT_START}`, `::${folder}`], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split('/').at(-1) ?? '')
    .filter((name) => name !== '')

/** Empty when fsck.fat finds nothing to say. */
export function complaintsAbout(card: string, bootMib = 36): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fsck-'))
  try {
    const part = join(folder, 'fat')
    const blocks = ['bs=1M', `skip=${BOOT_START / MIB}`, `count=${bootMib}`]
    execFileSync('dd', [`if=${card}`, `of=${part}`, ...blocks, 'status=none'])
    execFileSync('fsck.fat', ['-n', part], { encoding: 'utf8' })
    return ''
  } catch (error) {
    return error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
