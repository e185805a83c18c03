import { findOnPath } from '../../cli/find-on-path.ts'

/** Debian keeps some of them in sbin, which an ordinary user's PATH may lack. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
const PACKAGES: Readonly<Record<string, string>> = {
  mcopy: 'mtools',
  'mkfs.vfat': 'dosfstools',
  sfdisk: 'fdisk',
  xz: 'xz-utils',
  zstd: 'zstd',
  losetup: 'mount',
  unshare: 'util-linux',
  'systemd-analyze': 'systemd',
}

/** `apt-get install mtools` for each that is missing. In CI none is: there the tests run and fail. */
export const missingTools = (...commands: readonly string[]): readonly string[] =>
  process.env['CI'] === 'true'
    ? []
    : commands
        .filter((command) => findOnPath(command, PATH) === undefined)
        .map((command) => `apt-get install ${PACKAGES[command]}`)
