import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { FirmwareOrder, FirmwareStatusItem, LinkFirmwareUpdate, OrderedImage } from '../../api/link/firmware.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { hasCompiler } from '../../firmware/core/checks/host-build.ts'
import { type DeviceImage, SLOT_ADDRESSES, SmpDevices, unitOf } from '../../firmware/core/checks/smp-device.ts'
import { parseImage } from '../../firmware/tools/image.ts'
import { developmentKey, publicKeyOf } from '../../firmware/tools/keys.ts'
import { SmpClient } from '../../firmware/tools/smp/client.ts'
import { type TunnelPdu, tunnelTransport } from '../../firmware/tools/smp/tunnel.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { ImageStore } from './image-store.ts'
import { UpdateBoard } from './update-board.ts'
import { FirmwareUpdater } from './updater.ts'

const [A, B] = SLOT_ADDRESSES
const HASH = '0102030405060708'
const modelHash = Buffer.from(HASH, 'hex')

interface Board {
  readonly flash: string
  readonly line: string
  unit: TunnelPdu | undefined
  child: ChildProcessWithoutNullStreams | undefined
}

/** A gateway's updater, and boards that are the firmware's C as processes with their flash in files. Time is virtual. */
class Gateway implements AsyncDisposable {
  readonly clock = new VirtualClock()
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-updater-'))
  readonly images = new ImageStore(join(this.folder, 'images'))
  readonly orders = new Map<string, LinkFirmwareUpdate>()
  readonly said: FirmwareStatusItem[] = []
  readonly stored = new Map<string, string>()
  readonly boards = new Map<string, Board>()
  /** Questions asked, in order, by device. */
  readonly asked: string[] = []
  quality: (device: string) => Reading['quality'] = () => 'good'
  leased = true
  /** Nothing that is asked gets through. */
  deaf = false
  board = new UpdateBoard(() => {})
  #updater: FirmwareUpdater | undefined
  readonly #listeners = new Set<(batch: readonly Reading[]) => void>()
  readonly #devices: SmpDevices
  #outstanding = 0

  constructor(devices: SmpDevices) {
    this.#devices = devices
    this.start()
  }

  /** The agent's process begins, or begins anew. */
  start(): void {
    this.board = new UpdateBoard(() => {
      for (const { item } of [...this.orders.keys()].map((key) => ({ item: this.board.get(key) })))
        if (item !== undefined && JSON.stringify(this.said.at(-1)) !== JSON.stringify(item)) this.said.push(item)
    })
    this.#updater = new FirmwareUpdater({
      ...{ clock: this.clock, log: () => {}, board: this.board, images: this.images },
      storage: {
        get: (key) => this.stored.get(key),
        keys: () => [...this.stored.keys()],
        put: (entries) => {
          for (const [key, value] of Object.entries(entries)) {
            if (value === undefined) this.stored.delete(key)
            else this.stored.set(key, value)
          }
        },
      },
      orders: () => this.orders.entries(),
      tunnel: (device) => {
        const board = this.boards.get(device)
        if (board === undefined) return undefined
        return {
          line: board.line,
          modelHash,
          ask: async (pdu) => {
            this.asked.push(device)
            this.#outstanding++
            try {
              if (this.deaf) throw new SluiceError('SLUICE_SMP_TIMEOUT', 'nobody answers')
              return await (board.unit ??= this.#unit(board))(pdu, { timeoutMs: 1000 })
            } finally {
              this.#outstanding--
            }
          },
        }
      },
      mayBegin: () => this.leased,
      goodProperties: () => ['voltage'],
      onReadings: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
    })
    this.#updater.look()
  }

  /** Powers a board on; what is asked when its power goes is never answered. */
  #unit(board: Board): TunnelPdu {
    const child = this.#devices.start('tunnel', board.flash)
    board.child = child
    const unit = unitOf(child)
    const gone = new Promise<never>((_, reject) =>
      child.once('exit', () => reject(new SluiceError('SLUICE_SMP_TIMEOUT', 'nobody answers'))),
    )
    gone.catch(() => {})
    return (pdu, options) => Promise.race([unit(pdu, options), gone])
  }

  async stop(): Promise<void> {
    const stopped = this.#updater?.[Symbol.asyncDispose]()
    await this.clock.advance(10)
    await stopped
  }

  order(device: string, spec: FirmwareOrder): void {
    this.orders.set(device, { uid: 'u', spec })
    this.#updater?.look()
  }

  takeBack(device: string): void {
    this.orders.delete(device)
    this.#updater?.look()
  }

  powerCut(device: string): void {
    const board = this.boards.get(device)
    board?.child?.kill('SIGKILL')
    if (board === undefined) return
    board.child = undefined
    board.unit = undefined
  }

  state(device = 'ns/d'): string | undefined {
    return this.board.get(device)?.state
  }

  /** Lets time go on, with a poll of every device each quarter of a second, until it is so. */
  async until(so: () => boolean): Promise<void> {
    for (let turn = 0; !so(); turn++) {
      if (turn > 40_000) throw new Error(`it never is; last: ${JSON.stringify([...this.said].at(-1))}`)
      // While a board is asked, time stands still: its process is a real one.
      do {
        await new Promise((resolve) => setImmediate(resolve))
        if (so()) return
      } while (this.#outstanding > 0)
      await this.clock.advance(250)
      for (const listener of this.#listeners)
        for (const device of this.boards.keys())
          listener([{ device, property: 'voltage', value: 1, atMs: 0, quality: this.quality(device) } as Reading])
    }
  }

  end(device = 'ns/d'): Promise<void> {
    const ends = ['confirmed', 'failed', 'rolledBack', 'reverted', 'kept']
    return this.until(() => ends.includes(this.state(device) ?? ''))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

describe.skipIf(!hasCompiler())('an update that a gateway carries out', { timeout: 60_000 }, () => {
  const devices = new SmpDevices()
  let gateway: Gateway
  let number = 0
  beforeAll(() => devices.build())
  afterEach(() => gateway[Symbol.asyncDispose]())
  afterAll(() => devices.powerCut())

  async function plant(names: readonly string[] = ['ns/d'], factory: DeviceImage = {}): Promise<Gateway> {
    gateway = new Gateway(devices)
    for (const name of names) {
      const flash = await devices.flash(
        `flash-${number++}`,
        new Map([[A, await devices.image({ modelHash, ...factory })]]),
      )
      gateway.boards.set(name, { flash, line: 'wire', child: undefined, unit: undefined })
    }
    return gateway
  }

  /** An order for an image that is kept at the gateway already, unless `keep` is false. */
  async function orderFor(
    image: DeviceImage = {},
    change: Partial<FirmwareOrder> = {},
    { keep = true, damage = false, key = devices.key }: { keep?: boolean; damage?: boolean; key?: KeyObject } = {},
  ): Promise<FirmwareOrder> {
    const made = { version: '1.1.0', slotAddress: B, modelHash, ...image }
    const bytes = await devices.image(made)
    if (damage) bytes[700]! ^= 1
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const digest = Buffer.from(parseImage(bytes).digest).toString('hex')
    const ordered: OrderedImage = { slotAddress: B, sha256, digest, sizeBytes: bytes.length }
    if (keep)
      await gateway.images.receive(
        { sha256, sizeBytes: bytes.length, fromByte: 0 },
        (async function* () {
          yield bytes
        })(),
      )
    return {
      ...{ attempt: `a${number++}`, board: 'host', modelHash: HASH, version: '1.1.0', securityCounter: 1 },
      publicKey: Buffer.from(publicKeyOf(key).raw).toString('hex'),
      allowDevelopmentKey: true,
      images: [ordered],
      health: { polls: 3, timeoutMs: 20_000 },
      ...change,
    }
  }

  const flashOf = (device = 'ns/d') => readFileSync(gateway.boards.get(device)!.flash)

  it('sends, tries, looks whether the board is well, and confirms', async () => {
    await plant()
    gateway.order('ns/d', await orderFor())
    await gateway.end()
    expect(gateway.board.get('ns/d')).toMatchObject({ state: 'confirmed', running: '1.1.0' })
    expect([...new Set(gateway.said.map(({ state }) => state))]).toEqual([
      ...['waiting', 'asking', 'sending', 'trying', 'checking', 'confirmed'],
    ])
    const percents = gateway.said.flatMap(({ percent }) => percent ?? [])
    expect(percents).toEqual([...percents].sort((a, b) => a - b))
    expect(percents.at(-1)).toBe(100)
    // The same order again, by an agent that began anew, is answered from what it remembers.
    const asked = gateway.asked.length
    await gateway.stop()
    gateway.start()
    await gateway.end()
    expect(gateway.asked.length).toBe(asked)
  })

  it('says which bytes it lacks, and goes on when they have come', async () => {
    await plant()
    const order = await orderFor({}, {}, { keep: false })
    gateway.order('ns/d', order)
    await gateway.until(() => gateway.state() === 'fetching')
    expect(gateway.board.get('ns/d')?.needs).toEqual({ sha256: order.images[0]?.sha256, fromByte: 0 })
    const bytes = await devices.image({ version: '1.1.0', slotAddress: B, modelHash })
    await gateway.images.receive(
      { sha256: order.images[0]!.sha256, sizeBytes: bytes.length, fromByte: 0 },
      (async function* () {
        yield bytes
      })(),
    )
    await gateway.end()
    expect(gateway.state()).toBe('confirmed')
  })

  it('refuses each kind of wrong image with a code of its own, and the flash of the board stays as it is', async () => {
    const stranger = generateKeyPairSync('ed25519').privateKey
    const cases: readonly [string, () => Promise<FirmwareOrder>][] = [
      ['SLUICE_FW_UPDATE_BOARD', () => orderFor({}, { board: 'rp2040' })],
      ['SLUICE_FW_UPDATE_MODEL', () => orderFor({}, { modelHash: 'ff'.repeat(8) })],
      ['SLUICE_FW_UPDATE_ROLLBACK', () => orderFor({ securityCounter: 2 }, { securityCounter: 2 })],
      [
        'SLUICE_FW_UPDATE_SLOT',
        async () => {
          const order = await orderFor({ slotAddress: A })
          return { ...order, images: order.images.map((image) => ({ ...image, slotAddress: A })) }
        },
      ],
      ['SLUICE_FW_UPDATE_DOWNGRADE', () => orderFor({ version: '0.9.0' }, { version: '0.9.0' })],
      ['SLUICE_FW_UPDATE_IMAGE', () => orderFor({}, {}, { damage: true })],
      ['SLUICE_FW_UPDATE_IMAGE', () => orderFor({ key: stranger })],
      ['SLUICE_FW_UPDATE_IMAGE', () => orderFor({ slotAddress: A })],
      ['SLUICE_FW_UPDATE_IMAGE', () => orderFor({ version: '1.2.0' })],
      ['SLUICE_FW_UPDATE_IMAGE', () => orderFor({ board: 'rp2040' })],
      ['SLUICE_FW_MODEL', () => orderFor({ modelHash: Buffer.alloc(8, 9) })],
      [
        'SLUICE_FW_UPDATE_IMAGE',
        () => orderFor({ key: developmentKey() }, { allowDevelopmentKey: false }, { key: developmentKey() }),
      ],
    ]
    for (const [code, make] of cases) {
      await gateway?.[Symbol.asyncDispose]()
      await plant(['ns/d'], code === 'SLUICE_FW_UPDATE_ROLLBACK' ? { securityCounter: 5 } : {})
      if (code === 'SLUICE_FW_UPDATE_ROLLBACK') {
        const child = devices.start('tunnel', gateway.boards.get('ns/d')!.flash)
        await new SmpClient(tunnelTransport(unitOf(child))).confirm()
        child.kill('SIGKILL')
      }
      const order = await make()
      const before = flashOf()
      gateway.order('ns/d', order)
      await gateway.end()
      expect(gateway.board.get('ns/d')).toMatchObject({ state: 'failed', code })
      expect(Buffer.compare(flashOf(), before), code).toBe(0)
    }
  })

  it('goes on where it was when the board and then the agent begin anew in the middle', async () => {
    await plant()
    gateway.order('ns/d', await orderFor({ payload: Buffer.alloc(2000, 7) }))
    await gateway.until(() => gateway.said.some(({ percent }) => (percent ?? 0) > 30))
    gateway.powerCut('ns/d')
    await gateway.until(() => gateway.said.some(({ percent }) => (percent ?? 0) > 60))
    await gateway.stop()
    gateway.said.length = 0
    gateway.start()
    await gateway.end()
    expect(gateway.state()).toBe('confirmed')
    // What the board had was not sent again: whole pages of it.
    const percents = gateway.said.flatMap(({ percent }) => percent ?? []).filter((percent) => percent > 0)
    expect(percents[0]).toBeGreaterThan(30)
  })

  it('brings the old image back when the new one does not give good values in time', async () => {
    await plant()
    const order = await orderFor()
    gateway.quality = () => (gateway.state() === 'checking' ? 'bad(modbus-exception-4)' : 'good')
    gateway.order('ns/d', order)
    await gateway.end()
    expect(gateway.board.get('ns/d')).toMatchObject({
      ...{ state: 'rolledBack', code: 'SLUICE_FW_UPDATE_UNHEALTHY', running: '1.0.0' },
    })
    expect(gateway.board.get('ns/d')?.message).toContain('voltage is bad(modbus-exception-4)')
  })

  it('tells that the board went back by itself, also when nobody heard of it for long', async () => {
    await plant()
    gateway.order('ns/d', await orderFor())
    await gateway.until(() => gateway.state() === 'trying')
    gateway.deaf = true
    await gateway.until(() => gateway.said.some(({ code }) => code === 'SLUICE_FW_UPDATE_AWAY'))
    // Three starts that nobody confirmed: the board's own doing.
    for (let start = 0; start < 3; start++) {
      gateway.powerCut('ns/d')
      const child = devices.start('tunnel', gateway.boards.get('ns/d')!.flash)
      await new SmpClient(tunnelTransport(unitOf(child))).images()
      child.kill('SIGKILL')
    }
    gateway.deaf = false
    await gateway.end()
    expect(gateway.board.get('ns/d')).toMatchObject({
      ...{ state: 'rolledBack', code: 'SLUICE_FW_UPDATE_REVERTED', running: '1.0.0' },
    })
    expect(gateway.board.get('ns/d')?.message).toContain('exhausted')
  })

  it('takes a board back to what it ran before, at once, and leaves one alone that runs it', async () => {
    await plant()
    const order = await orderFor()
    gateway.order('ns/d', order)
    await gateway.end()
    gateway.order('ns/d', { ...order, attempt: 'back', goBack: true })
    await gateway.until(() => gateway.state() === 'reverted')
    expect(gateway.board.get('ns/d')).toMatchObject({ running: '1.0.0' })
    const before = flashOf()
    gateway.order('ns/d', { ...order, attempt: 'back again', goBack: true })
    await gateway.until(() => gateway.board.get('ns/d')?.attempt === 'back again' && gateway.state() === 'reverted')
    expect(Buffer.compare(flashOf(), before)).toBe(0)
    // And forth again, which takes the whole way.
    gateway.order('ns/d', { ...order, attempt: 'forth' })
    await gateway.until(() => gateway.state() === 'confirmed')
  })

  it('says that a board keeps what it runs where the security counter was raised meanwhile', async () => {
    await plant()
    const order = await orderFor({ securityCounter: 3 }, { securityCounter: 3 })
    gateway.order('ns/d', order)
    await gateway.end()
    gateway.order('ns/d', { ...order, attempt: 'back', goBack: true })
    await gateway.until(() => gateway.state() === 'kept')
    expect(gateway.board.get('ns/d')?.code).toBe('SLUICE_FW_UPDATE_KEPT')
    expect(gateway.board.get('ns/d')?.message).toContain('rollback')
  })

  it('takes a board back that is on trial, or about to be', async () => {
    for (const state of ['sending', 'trying', 'checking']) {
      await gateway?.[Symbol.asyncDispose]()
      await plant()
      const order = await orderFor()
      gateway.quality = () => 'bad(timeout)'
      gateway.order('ns/d', order)
      await gateway.until(() => gateway.state() === state)
      gateway.order('ns/d', { ...order, attempt: 'back', goBack: true })
      await gateway.until(() => gateway.state() === 'reverted')
      expect(gateway.board.get('ns/d')).toMatchObject({ running: '1.0.0' })
      gateway.powerCut('ns/d')
      const child = devices.start('tunnel', gateway.boards.get('ns/d')!.flash)
      const images = await new SmpClient(tunnelTransport(unitOf(child))).images()
      expect(images.find(({ active }) => active)?.version, state).toBe('1.0.0')
      child.kill('SIGKILL')
    }
  })

  it('updates one device at a time on a wire', async () => {
    const names = ['ns/a', 'ns/b', 'ns/c']
    await plant(names)
    for (const name of names) gateway.order(name, await orderFor())
    await gateway.until(() => names.every((name) => gateway.state(name) === 'confirmed'))
    const turns = gateway.asked.filter((name, at) => name !== gateway.asked[at - 1])
    expect(turns).toEqual(names)
  })

  it('begins nothing at a tethered gateway without a lease, and ends what it has begun', async () => {
    await plant()
    gateway.leased = false
    gateway.order('ns/d', await orderFor())
    await gateway.clock.advance(30_000)
    expect(gateway.board.get('ns/d')).toMatchObject({ state: 'waiting' })
    expect(gateway.asked).toEqual([])
    gateway.leased = true
    await gateway.until(() => gateway.state() === 'trying')
    gateway.leased = false
    await gateway.end()
    expect(gateway.state()).toBe('confirmed')
  })

  it('stops when the order is taken back', async () => {
    await plant()
    gateway.order('ns/d', await orderFor({ payload: Buffer.alloc(2000, 7) }))
    await gateway.until(() => gateway.said.some(({ percent }) => (percent ?? 0) > 20))
    gateway.takeBack('ns/d')
    await gateway.clock.advance(1000)
    const asked = gateway.asked.length
    await gateway.clock.advance(60_000)
    expect(gateway.asked.length).toBe(asked)
    expect(gateway.board.get('ns/d')).toBeUndefined()
  })
})
