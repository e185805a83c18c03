import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeImage } from './pi-image.ts'

/** Kept between runs: packages are fetched once. */
const CACHE = join(tmpdir(), 'sluice-card-debian')
const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'udev',
  'dbus',
  'cloud-init',
  // debootstrap sees no package behind the names that python3-cryptography asks for.
  'python3-cffi-backend',
  'linux-image-cloud-amd64',
  'iproute2',
  'netplan.io',
  'kmod',
  'passwd',
  'procps',
]
const BOOT_MIB = 128
const ROOT_MIB = 1100

function fetchPackages(root: string, say: (line: string) => void): void {
  say('debootstrap: fetching Debian (once, about 150 MB)')
  rmSync(CACHE, { recursive: true, force: true })
  mkdirSync(CACHE, { recursive: true })
  const targets = ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages']
  const [mirror = '', release = 'bookworm'] =
    execFileSync('apt-get', targets, { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, suite]) => suite !== undefined && !suite.includes('-')) ?? []
  const options = ['--variant=minbase', `--include=${PACKAGES.join(',')}`]
  execFileSync('debootstrap', [...options, release, root, mirror], { stdio: ['ignore', 'ignore', 'inherit'] })
  rmSync(join(root, 'var/cache/apt'), { recursive: true, force: true })
  writeFileSync(join(CACHE, 'packages'), '')
}

/** A Debian with systemd and cloud-init, made of packages; the folder of its root. */
function debian(say: (line: string) => void): string {
  const root = join(CACHE, 'root')
  if (!existsSync(join(CACHE, 'packages'))) fetchPackages(root, say)
  const write = (path: string, text: string) => writeFileSync(join(root, path), text)
  // As images for cards have it: the boot partition by its label, cloud-init's files on it.
  write('etc/fstab', 'LABEL=BOOTFS /boot/firmware vfat defaults 0 2\n/dev/vda2 / ext4 defaults 0 1\n')
  mkdirSync(join(root, 'boot/firmware'), { recursive: true })
  const seed = 'datasource_list: [NoCloud]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware/\n'
  write('etc/cloud/cloud.cfg.d/99-card.cfg', seed)
  write('etc/hostname', 'debian\n')
  write('etc/systemd/network/10-wired.network', '[Match]\nName=e*\n[Network]\nDHCP=yes\n')
  execFileSync('chroot', [root, 'systemctl', 'enable', 'systemd-networkd'], { stdio: 'ignore' })
  // cloud-init has to find its files before they are asked for.
  const wait = '[Unit]\nRequiresMountsFor=/boot/firmware\n'
  mkdirSync(join(root, 'etc/systemd/system/cloud-init-local.service.d'), { recursive: true })
  write('etc/systemd/system/cloud-init-local.service.d/card.conf', wait)
  return root
}

export interface BootableImage {
  readonly path: string
  readonly kernel: string
  readonly initrd: string
}

/** A card image as a publisher would give it: FAT with cloud-init's files, ext4 with Debian. */
export function debianImage(folder: string, say: (line: string) => void): BootableImage {
  const root = debian(say)
  const path = join(folder, 'debian.img')
  makeImage(path, {
    bootMib: BOOT_MIB,
    rootMib: ROOT_MIB,
    files: {
      'user-data': '#cloud-config\n',
      'meta-data': 'instance-id: publisher\n',
      'cmdline.txt': 'console=ttyS0\n',
    },
  })
  // The second partition, by its offset: no loop device shows partitions without udev.
  const offset = (4 + BOOT_MIB) * 1024 * 1024
  const options = ['-q', '-F', '-E', `offset=${offset}`, '-d', root, path, `${ROOT_MIB * 1024}k`]
  execFileSync('mkfs.ext4', options, { stdio: ['ignore', 'ignore', 'inherit'] })
  const boot = readdirSync(join(root, 'boot'))
  const newest = (prefix: string) =>
    join(
      root,
      'boot',
      boot
        .filter((name) => name.startsWith(prefix))
        .sort()
        .at(-1) ?? '',
    )
  return { path, kernel: newest('vmlinuz-'), initrd: newest('initrd.img-') }
}
