import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../hil/random.ts'
import { hasCompiler } from '../../core/checks/host-build.ts'
import { type DeviceImage, lineOf, SLOT_ADDRESSES, SmpDevices, unitOf } from '../../core/checks/smp-device.ts'
import { parseImage, type Refusal } from '../image.ts'
import { SmpClient, SmpRefused } from './client.ts'
import { encodePacket } from './packet.ts'
import { streamTransport } from './transport.ts'
import { tunnelTransport } from './tunnel.ts'

const [A, B] = SLOT_ADDRESSES

describe.skipIf(!hasCompiler())('the SMP client against the server of the firmware', () => {
  const devices = new SmpDevices()
  beforeAll(() => devices.build())

  const factory = async (name: string, options: DeviceImage = {}) =>
    devices.flash(name, new Map([[A, await devices.image(options)]]))
  const overConsole = (flash: string, recovery = false) =>
    new SmpClient(streamTransport(lineOf(devices.start('console', flash, recovery))), { timeoutMs: 5000 })
  const overTunnel = (flash: string, lose?: () => boolean) =>
    new SmpClient(tunnelTransport(unitOf(devices.start('tunnel', flash), lose)), { timeoutMs: 5000 })

  const refusalOf = async (action: Promise<unknown>): Promise<Refusal | number | undefined> => {
    const error = await action.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof SmpRefused)) throw new Error(`no refusal: ${String(error)}`)
    return error.refusal ?? error.rc
  }

  for (const line of ['console', 'tunnel'] as const) {
    it(`updates over ${line}: upload, test, restart, confirm, and the security counter follows`, async () => {
      const flash = await factory(`update-${line}`)
      const client = line === 'console' ? overConsole(flash) : overTunnel(flash)
      expect(await client.echo('Grüße')).toBe('Grüße')
      expect(await client.plate()).toMatchObject({
        board: 'host',
        running: 0,
        recovery: false,
        slotAddresses: [A, B],
        roomBytes: 3072,
        securityCounter: 0,
      })
      const next = await devices.image({ version: '1.1.0', slotAddress: B, securityCounter: 7 })
      const seen: number[] = []
      await client.upload(next, { onProgress: ({ sentBytes }) => seen.push(sentBytes) })
      expect(seen.at(-1)).toBe(next.length)
      expect(seen.length).toBeGreaterThan(2)
      const [, marked] = await client.test(parseImage(next).digest)
      expect(marked).toMatchObject({ slot: 1, version: '1.1.0', pending: true, bootable: true, confirmed: false })
      await client.reset()
      const [, running] = await client.images()
      expect(running).toMatchObject({ active: true, confirmed: false, attempts: 1 })
      expect((await client.plate()).securityCounter).toBe(0)
      expect((await client.confirm())[1]).toMatchObject({ active: true, confirmed: true })
      expect((await client.plate()).securityCounter).toBe(7)
      await client.reset()
      expect((await client.images())[1]).toMatchObject({ active: true, confirmed: true })
    })
  }

  it('goes back after three starts without a confirmation, says so, and gives it a new chance when it is sent again', async () => {
    const flash = await factory('revert')
    const client = overConsole(flash)
    const next = await devices.image({ version: '2.0.0', slotAddress: B })
    await client.upload(next)
    await client.test(parseImage(next).digest)
    for (const attempts of [1, 2, 3]) {
      await client.reset()
      expect((await client.images())[1]).toMatchObject({ active: true, attempts })
    }
    await client.reset()
    expect(await client.images()).toMatchObject([
      { active: true },
      { active: false, refusal: 'exhausted', bootable: false },
    ])
    expect(await refusalOf(client.test(parseImage(next).digest))).toBe('exhausted')
    await client.upload(next)
    expect((await client.test(parseImage(next).digest))[1]).toMatchObject({ pending: true, attempts: 0 })
  })

  it('keeps what it could fall back to while an image is on trial', async () => {
    const client = overConsole(await factory('trial'))
    const next = await devices.image({ version: '1.1.0', slotAddress: B })
    await client.upload(next)
    await client.test(parseImage(next).digest)
    await client.reset()
    const later = await devices.image({ version: '1.2.0' })
    expect(await refusalOf(client.upload(later))).toBe(6)
    expect(await refusalOf(client.erase())).toBe(6)
    await client.confirm()
    await client.upload(later)
  })

  it('confirms only what runs', async () => {
    const client = overConsole(await factory('confirm'))
    const next = await devices.image({ version: '1.1.0', slotAddress: B })
    await client.upload(next)
    const body = { hash: parseImage(next).digest, confirm: true }
    expect(await refusalOf(client.request({ operation: 'write', group: 1, command: 0, body }, 'confirm'))).toBe(6)
  })

  it('goes on where it was after the board and the client restarted', async () => {
    const flash = await factory('resume')
    const next = await devices.image({ version: '1.1.0', slotAddress: B, payload: Buffer.alloc(2300, 7) })
    const stop = new AbortController()
    const sent: number[] = []
    await expect(
      overConsole(flash).upload(next, {
        signal: stop.signal,
        onProgress: ({ sentBytes }) => {
          sent.push(sentBytes)
          if (sentBytes > 2100) stop.abort(new Error('the gateway lost power'))
        },
      }),
    ).rejects.toThrow('the gateway lost power')
    devices.powerCut()
    const resumed: number[] = []
    const client = overConsole(flash)
    await client.upload(next, { onProgress: ({ resumedAt }) => resumed.push(resumedAt) })
    // Whole pages count; the one that was being written is written again.
    expect(resumed[0]).toBe(2048)
    expect((await client.test(parseImage(next).digest))[1]).toMatchObject({ pending: true })
  })

  it('begins again when it is another file', async () => {
    const flash = await factory('other')
    const stop = new AbortController()
    const first = await devices.image({ version: '1.1.0', slotAddress: B, payload: Buffer.alloc(2300, 7) })
    const onProgress = () => stop.abort(new Error('enough'))
    await expect(overConsole(flash).upload(first, { signal: stop.signal, onProgress })).rejects.toThrow('enough')
    devices.powerCut()
    const other = await devices.image({ version: '1.1.1', slotAddress: B })
    const client = overConsole(flash)
    const resumed: number[] = []
    await client.upload(other, { onProgress: ({ resumedAt }) => resumed.push(resumedAt) })
    expect(resumed[0]).toBe(0)
    await client.test(parseImage(other).digest)
  })

  it('loses nothing and does nothing twice when answers are lost in the tunnel', async () => {
    const random = seededRandom(4)
    const client = overTunnel(await factory('lossy'), () => random() < 0.2)
    const next = await devices.image({ version: '1.1.0', slotAddress: B, payload: Buffer.alloc(2300, 7) })
    await client.upload(next)
    await client.test(parseImage(next).digest)
    await client.reset()
    expect((await client.images())[1]).toMatchObject({ active: true, attempts: 1 })
  })

  const refusedAt = async (name: string, image: Uint8Array): Promise<Refusal | number | undefined> => {
    const client = overConsole(await factory(name, { securityCounter: 5, version: '1.5.0' }))
    await client.confirm()
    await client.upload(image)
    const slots = await client.images()
    const hash = slots.find(({ slot }) => slot === 1)?.hash
    if (hash === undefined) throw new Error('the board shows no image')
    return refusalOf(client.test(hash))
  }
  const good = (options: DeviceImage = {}) =>
    devices.image({ version: '1.6.0', slotAddress: B, securityCounter: 5, ...options })
  const changed = async (at: (image: Uint8Array) => number, value?: number) => {
    const image = await good()
    const index = at(image)
    image[index] = value ?? (image[index] ?? 0) ^ 0x10
    return image
  }

  it('refuses each kind of wrong image with its own reason before it is ever started', async () => {
    const reasons: Record<string, Refusal | number | undefined> = {
      'flags of an encrypted image': await refusedAt('r1', await changed(() => 16, 0x04)),
      'payload reaches beyond the slot': await refusedAt('r2', await changed(() => 14, 0x01)),
      'a TLV that is too long': await refusedAt(
        'r3',
        await changed((image) => parseImage(image).signedBytes + 6, 0xff),
      ),
      'made for another board': await refusedAt('r4', await good({ board: 'hostess' })),
      'linked for the other slot': await refusedAt('r5', await good({ slotAddress: A })),
      'a counter below the confirmed one': await refusedAt('r6', await good({ securityCounter: 4 })),
      'an older version': await refusedAt('r7', await good({ version: '1.4.9' })),
      'a payload with one bit changed': await refusedAt('r8', await changed(() => 700)),
    }
    expect(reasons).toEqual({
      'flags of an encrypted image': 'header',
      'payload reaches beyond the slot': 'size',
      'a TLV that is too long': 'tlv',
      'made for another board': 'board',
      'linked for the other slot': 'slot',
      'a counter below the confirmed one': 'rollback',
      'an older version': 'downgrade',
      'a payload with one bit changed': 'digest',
    })
  }, 60_000)

  it('leaves signatures to the bootloader, which refuses them with a reason and starts what ran', async () => {
    const stranger = generateKeyPairSync('ed25519').privateKey
    const seen: Record<string, unknown> = {}
    const forged = await changed((image) => image.length - 1)
    for (const [name, image] of [
      ['key', await good({ key: stranger })],
      ['signature', forged],
    ] as const) {
      const client = overConsole(await factory(`boot-${name}`))
      await client.upload(image)
      await client.test(parseImage(image).digest)
      await client.reset()
      const [a, b] = await client.images()
      seen[name] = [a?.active, b?.active, b?.refusal]
    }
    expect(seen).toEqual({ key: [true, false, 'key'], signature: [true, false, 'signature'] })
  })

  it('brings an empty board to life from the bootloader', async () => {
    const flash = await devices.flash('empty', new Map())
    const client = overConsole(flash, true)
    expect(await client.plate()).toMatchObject({ recovery: true, running: undefined })
    const image = await devices.image()
    await client.upload(image)
    await client.test(parseImage(image).digest)
    devices.powerCut()
    expect((await overConsole(flash).images())[0]).toMatchObject({ active: true, attempts: 1 })
  })

  it('from the bootloader leaves alone what would be started', async () => {
    const flash = await factory('protected')
    const client = overConsole(flash, true)
    expect(await client.plate()).toMatchObject({ running: 0, recovery: true })
    await client.upload(await devices.image({ slotAddress: B, version: '1.1.0' }))
    expect(
      await refusalOf(client.request({ operation: 'write', group: 1, command: 5, body: { slot: 0 } }, 'erase')),
    ).toBe(6)
  })

  it('says in the bootloader of each slot whether its content would be started, and of a new upload once more', async () => {
    const stranger = generateKeyPairSync('ed25519').privateKey
    const [a, b] = [await devices.image(), await good()]
    const damaged = (image: Uint8Array) => image.map((byte, at) => (at === 700 ? byte ^ 0x10 : byte))
    const looks = async (name: string, slots: ReadonlyMap<number, Uint8Array>) =>
      (await overConsole(await devices.flash(`looks-${name}`, slots), true).images()).map(
        ({ bootable, refusal }) => refusal ?? bootable,
      )
    // The bootloader tried these before it had to wait for help ...
    expect(await looks('alone', new Map([[A, damaged(a)]]))).toEqual(['digest'])
    const foreign = await devices.image({ key: stranger })
    expect(await looks('foreign', new Map([[A, foreign]]))).toEqual(['key'])
    // ... and here it had found what it would start before it came to the other.
    const cases = [b, damaged(b), await good({ key: stranger })].entries()
    const seen: unknown[] = []
    for (const [at, image] of cases) {
      const slots = new Map([
        [A, a],
        [B, image],
      ])
      seen.push(await looks(`both-${at}`, slots))
    }
    expect(seen).toEqual([
      [true, true],
      [true, 'digest'],
      [true, 'key'],
    ])

    const client = overConsole(await factory('looks-again'), true)
    const second = async () => (await client.images())[1]
    await client.upload(damaged(b))
    expect(await second()).toMatchObject({ bootable: false, refusal: 'digest' })
    await client.upload(b)
    expect(await second()).toMatchObject({ bootable: true, refusal: undefined })
    await client.upload(await good({ key: stranger }))
    expect(await second()).toMatchObject({ bootable: false, refusal: 'key' })
    await client.upload(b)
    expect((await client.test(parseImage(b).digest))[1]).toMatchObject({ bootable: true, pending: true })
  })

  it('waits between chunks when it may not use the whole line', async () => {
    const client = overConsole(await factory('slow'))
    const rates: number[] = []
    const image = await devices.image({ slotAddress: B, version: '1.1.0', payload: Buffer.alloc(2300, 1) })
    const options = {
      bytesPerSecond: 20_000,
      onProgress: (p: { bytesPerSecond: number }) => rates.push(p.bytesPerSecond),
    }
    await client.upload(image, options)
    // The last figure is taken before the wait that it would need: one chunk ahead at most.
    expect(rates.at(-1)).toBeLessThan(20_000 * 1.5)
  })

  it('is given nothing that is no part of an answer, however often it asks on in the tunnel', async () => {
    const ask = unitOf(devices.start('tunnel', await factory('beyond')))
    const part = (control: number, bytes: Uint8Array = new Uint8Array()) =>
      ask(Buffer.concat([Buffer.of(0x41, bytes.length + 1, control), bytes]), { timeoutMs: 5000, signal: undefined })
    const echo = (length: number) =>
      encodePacket({ operation: 'write', group: 0, command: 0, body: { d: 'e'.repeat(length) } }, 7)
    const [first, more] = [0x80, 0x40]
    const long = echo(300)
    expect(await part(first | more, long.subarray(0, 200))).toEqual(Buffer.of(0x41, 1, first | more))
    expect(await part(1, long.subarray(200))).toHaveLength(3 + 240)
    // Nothing of this is a packet: it has no answer, and so no second part.
    expect(await part(first, Buffer.from('no packet'))).toEqual(Uint8Array.of(0xc1, 4))
    for (const number of [1, 2, 3, 4]) expect(await part(number)).toEqual(Uint8Array.of(0xc1, 4))
    expect(await part(first, echo(5))).toHaveLength(3 + echo(5).length)
  })
})
