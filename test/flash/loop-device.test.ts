import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { listDevices } from '../../cli/flash/disks.ts'
import { flashImage } from '../../cli/flash/flash.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { smallDisk } from '../harness/small-disk.ts'
import { makeImage } from './pi-image.ts'
import { missingTools } from './tools.ts'

/** Real block devices: the kernel's own rules about who may open them, and its own errors. */
function canLoop(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return false
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const cannot = [
  ...missingTools('losetup', 'mcopy', 'mkfs.vfat', 'sfdisk'),
  ...(canLoop() ? [] : ['root and loop devices']),
]

describe.skipIf(cannot.length > 0)(`a block device${cannot.length > 0 ? ` (needs ${cannot})` : ''}`, () => {
  let folder: Folder
  let stack: DisposableStack
  beforeEach(() => {
    folder = temporaryFolder('loop')
    stack = new DisposableStack()
    makeImage(join(folder.path, 'pi.img'))
  })
  afterEach(() => {
    stack.dispose()
    folder[Symbol.dispose]()
  })

  const loop = (file: string): string => {
    const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim()
    stack.defer(() => void execFileSync('losetup', ['--detach', device]))
    return device
  }
  const backing = (name: string, mib: number): string => {
    const file = join(folder.path, name)
    writeFileSync(file, '')
    truncateSync(file, mib * 1024 * 1024)
    return file
  }
  const flash = (device: string) =>
    flashImage(
      {
        image: join(folder.path, 'pi.img'),
        device,
        allowFixed: true,
        allowLarge: false,
        sha256: undefined,
        declared: undefined,
        settings: undefined,
      },
      {
        clock: systemClock,
        signal: new AbortController().signal,
        devices: () => listDevices(new AbortController().signal),
        confirm: async () => {},
        onProgress() {},
      },
    )
  const codeOf = async (run: Promise<unknown>) =>
    run.then(
      () => 'nothing',
      (thrown: unknown) => toSluiceError(thrown),
    )

  it('is written, and read back past the cache', async () => {
    const card = backing('card', 60)
    const result = await flash(loop(card))
    expect(result.verifiedDirectly).toBe(true)
    execFileSync('cmp', ['--bytes', String(result.imageBytes), join(folder.path, 'pi.img'), card])
  })

  it('is refused while something on it is mounted, by our list and by the kernel alike', async () => {
    const card = backing('card', 60)
    execFileSync('mkfs.ext4', ['-q', card])
    const device = loop(card)
    const place = join(folder.path, 'mounted')
    mkdirSync(place)
    execFileSync('mount', [device, place])
    stack.defer(() => void execFileSync('umount', [place]))
    expect(await codeOf(flash(device))).toMatchObject({
      code: 'SLUICE_FLASH_DEVICE_REFUSED',
      message: expect.stringContaining('mounted at'),
    })
    // Somebody mounts it between the look and the opening: what the list says is then too old.
    const blind = flashImage(
      {
        image: join(folder.path, 'pi.img'),
        device,
        allowFixed: true,
        allowLarge: false,
        sha256: undefined,
        declared: undefined,
        settings: undefined,
      },
      {
        clock: systemClock,
        signal: new AbortController().signal,
        devices: async () =>
          (await listDevices(new AbortController().signal)).map((each) => ({ ...each, mountpoints: [], children: [] })),
        confirm: async () => {},
        onProgress() {},
      },
    )
    expect(await codeOf(blind)).toMatchObject({
      code: 'SLUICE_FLASH_DEVICE_REFUSED',
      message: expect.stringContaining('in use'),
    })
    execFileSync('fsck.ext4', ['-n', card], { stdio: 'ignore' })
  })

  it('that has less room than it says is found out', async () => {
    const small = smallDisk(join(folder.path, 'small'), 16)
    stack.use(small)
    const card = join(small.path, 'card')
    writeFileSync(card, '')
    truncateSync(card, 60 * 1024 * 1024)
    const device = loop(card)
    // Noise, since zeros need no room.
    execFileSync('dd', [
      'if=/dev/urandom',
      `of=${join(folder.path, 'pi.img')}`,
      'bs=1M',
      'seek=6',
      'count=30',
      'conv=notrunc',
      'status=none',
    ])
    expect(await codeOf(flash(device))).toMatchObject({ code: 'SLUICE_FLASH_DEVICE_LOST' })
    const fd = openSync(device, 'r')
    const first = Buffer.alloc(512)
    readSync(fd, first, 0, 512, 0)
    closeSync(fd)
    expect(first.equals(Buffer.alloc(512))).toBe(true)
  })
})
