import type { Timer } from '../../api/clock.ts'
import type { Air, Broadcast } from './air.ts'
import { fixedAnswer } from './fixed-answers.ts'
import { addressBytes, addressText, commandComplete, commandStatus, event, H4Splitter, le16, PACKET } from './h4.ts'

/** Bluetooth Core 5.4, Vol 1 Part F: error codes. */
export const STATUS = {
  ok: 0x00,
  unknownCommand: 0x01,
  unknownConnection: 0x02,
  connectionTimeout: 0x08,
  connectionLimit: 0x09,
  disallowed: 0x0c,
  remoteUserTerminated: 0x13,
  localHostTerminated: 0x16,
  unknownConnectionId: 0x02,
} as const

export interface ControllerOptions {
  readonly mac: string
  /** Links at once. Default 8. */
  readonly maxLinks?: number
  /** ACL buffers of the host, and their size in bytes. Default 32 of 251. */
  readonly buffers?: number
  readonly bufferBytes?: number
  /** Commands the controller answers with "unknown command", as real ones do with what they lack. */
  readonly refuses?: readonly number[]
  /**
   * What makes a report a repetition to a host that wants none. Default `address`, as Vol 6 Part B 4.3.3 has it; many
   * real ones go by the data, too.
   */
  readonly repeatedBy?: 'address' | 'data'
}

interface Link {
  readonly handle: number
  readonly peer: VirtualController
  readonly intervalMs: number
  readonly supervisionMs: number
  /** When the last packet of this direction will have arrived; later ones never overtake it. */
  arriveMs: number
  /** Set while the two do not hear each other. */
  lost: Timer | undefined
}

interface Pending {
  readonly mac: string
  readonly intervalMs: number
  readonly supervisionMs: number
}

/**
 * One Bluetooth LE controller behind an H4 transport: the commands that a Linux host stack needs to advertise, scan,
 * connect and pass L2CAP through. It knows nothing of ATT, so whatever hosts say to each other passes unmodified.
 */
export class VirtualController {
  readonly name: string
  readonly mac: string
  readonly #air: Air
  readonly #toHost: (bytes: Uint8Array) => void
  readonly #options: Required<Omit<ControllerOptions, 'mac'>>
  readonly #splitter = new H4Splitter()
  readonly #links = new Map<number, Link>()
  readonly #completed = new Map<number, number>()
  readonly #seen = new Set<string>()
  readonly #leave: () => void
  readonly #neighbours: Map<string, VirtualController>
  #nextHandle = 0x40
  #scan = { on: false, active: false, unique: false }
  #advertising = { on: false, type: 0, intervalMs: 100, data: new Uint8Array(0), response: new Uint8Array(0) }
  #advertTimer: Timer | undefined
  #pending: Pending | undefined
  #flushing = false
  #deaf = false
  #dead = false

  constructor(
    air: Air,
    neighbours: Map<string, VirtualController>,
    options: ControllerOptions,
    toHost: (bytes: Uint8Array) => void,
  ) {
    this.name = options.mac
    this.mac = options.mac
    this.#air = air
    this.#toHost = toHost
    this.#options = { maxLinks: 8, buffers: 32, bufferBytes: 251, refuses: [], repeatedBy: 'address', ...options }
    this.#neighbours = neighbours
    neighbours.set(this.mac, this)
    this.#leave = air.listen(this)
  }

  get links(): number {
    return this.#links.size
  }

  get scanning(): boolean {
    return this.#scan.on
  }

  get activeScan(): boolean {
    return this.#scan.active
  }

  /** Bytes from the host, cut anywhere. */
  push(chunk: Uint8Array): void {
    if (this.#deaf) return
    for (const { type, body } of this.#splitter.push(chunk)) {
      if (type === PACKET.command) this.#command(body[0]! | (body[1]! << 8), body.subarray(3))
      else if (type === PACKET.acl) this.#acl(body)
    }
  }

  /** The controller hangs: it neither answers its host nor hears the air, until `revive`. */
  hang(): void {
    this.#deaf = true
    this.#stopAdvertising()
    for (const link of this.#links.values()) link.peer.#silent(this)
  }

  revive(): void {
    this.#deaf = false
  }

  /** Power is gone: links end by their supervision time-out on the other side. */
  die(): void {
    if (this.#dead) return
    this.#dead = true
    this.hang()
    this.#leave()
    this.#neighbours.delete(this.mac)
    this.#links.clear()
  }

  heard(broadcast: Broadcast, from: string, rssiDbm: number): void {
    if (this.#deaf) return
    if (this.#pending?.mac === broadcast.mac && broadcast.type === 0) {
      const peer = this.#neighbours.get(from)
      if (peer !== undefined && this.#connect(peer, this.#pending)) return
    }
    if (!this.#scan.on) return
    const { mac, data } = broadcast
    const report = this.#options.repeatedBy === 'data' ? mac + Buffer.from(data).toString('latin1') : mac
    if (this.#scan.unique && this.#seen.has(report)) return
    if (this.#scan.unique) this.#seen.add(report)
    this.#report(broadcast.type, broadcast, broadcast.data, rssiDbm)
    if (this.#scan.active && broadcast.scanResponse !== undefined && broadcast.type !== 3) {
      this.#report(4, broadcast, broadcast.scanResponse, rssiDbm)
    }
  }

  #report(type: number, { mac, random }: Broadcast, data: Uint8Array, rssiDbm: number): void {
    const eir = data.subarray(0, 31)
    const kind = random ? 1 : 0
    this.#toHost(event(0x3e, 0x02, 1, type, kind, ...addressBytes(mac), eir.length, ...eir, rssiDbm & 0xff))
  }

  #command(opcode: number, data: Uint8Array): void {
    for (const packet of this.#answer(opcode, data)) this.#toHost(packet)
  }

  #answer(opcode: number, data: Uint8Array): Uint8Array[] {
    if (this.#options.refuses.includes(opcode)) return [commandStatus(opcode, STATUS.unknownCommand)]
    const done = (...result: readonly number[]) => [commandComplete(opcode, STATUS.ok, ...result)]
    const fixed = fixedAnswer(opcode)
    if (fixed !== undefined) return done(...fixed)
    switch (opcode) {
      case 0x0c03: // Reset
        this.#reset()
        return done()
      case 0x1009: // Read BD_ADDR
        return done(...addressBytes(this.mac))
      case 0x2002: // LE Read Buffer Size
        return done(...le16(this.#options.bufferBytes), this.#options.buffers)
      case 0x200d:
        return [this.#createConnection(opcode, data)]
      case 0x200e:
        return this.#cancelConnection(opcode)
      case 0x2013: // LE Connection Update: taken, the interval stays
        return [commandStatus(opcode, STATUS.ok)]
      case 0x201b: // LE Long Term Key Request Negative Reply
        return done(data[0]!, data[1]!)
      case 0x2016: // LE Read Remote Features: of a controller like this one, which has none
        return [commandStatus(opcode, STATUS.ok), event(0x3e, 0x04, 0, data[0]!, data[1]!, 0, 0, 0, 0, 0, 0, 0, 0)]
      case 0x0406:
        return this.#disconnect(opcode, data)
      case 0x1405:
        return [this.#readRssi(opcode, data)]
      default:
        if (this.#setUp(opcode, data)) return done()
        return [commandComplete(opcode, STATUS.unknownCommand)]
    }
  }

  /** Scanning and advertising. False for any other command. */
  #setUp(opcode: number, data: Uint8Array): boolean {
    switch (opcode) {
      case 0x200b: // LE Set Scan Parameters
        this.#scan = { ...this.#scan, active: data[0] === 1 }
        return true
      case 0x200c: // LE Set Scan Enable
        if (data[0] === 1 && !this.#scan.on) this.#seen.clear()
        this.#scan = { ...this.#scan, on: data[0] === 1, unique: data[1] === 1 }
        return true
      case 0x2006: // LE Set Advertising Parameters
        this.#advertising.intervalMs = Math.max(20, ((data[0] ?? 0) | ((data[1] ?? 0) << 8)) * 0.625)
        this.#advertising.type = data[4] ?? 0
        return true
      case 0x2008: // LE Set Advertising Data
        this.#advertising.data = Uint8Array.from(data.subarray(1, 1 + data[0]!))
        return true
      case 0x2009: // LE Set Scan Response Data
        this.#advertising.response = Uint8Array.from(data.subarray(1, 1 + data[0]!))
        return true
      case 0x200a: // LE Set Advertising Enable
        if (data[0] === 1) this.#startAdvertising()
        else this.#stopAdvertising()
        return true
      default:
        return false
    }
  }

  #reset(): void {
    this.#stopAdvertising()
    this.#scan = { on: false, active: false, unique: false }
    this.#pending = undefined
    for (const link of [...this.#links.values()]) {
      link.peer.#ended(this, STATUS.remoteUserTerminated)
      this.#forget(link)
    }
  }

  #startAdvertising(): void {
    this.#advertising.on = true
    this.#advertTimer?.cancel()
    const next = () => {
      // Bluetooth Core 5.4, Vol 6 Part B 4.4.2.2.1: the interval plus 0 to 10 ms at random.
      const waitMs = this.#advertising.intervalMs + this.#air.random() * 10
      this.#advertTimer = this.#air.after(waitMs, () => {
        const { type, data, response } = this.#advertising
        const scanResponse = response.length > 0 ? { scanResponse: response } : {}
        this.#air.broadcast(this.name, { type, mac: this.mac, random: false, data, ...scanResponse })
        if (this.#advertising.on) next()
      })
    }
    next()
  }

  #stopAdvertising(): void {
    this.#advertising.on = false
    this.#advertTimer?.cancel()
    this.#advertTimer = undefined
  }

  #createConnection(opcode: number, data: Uint8Array): Uint8Array {
    if (this.#pending !== undefined) return commandStatus(opcode, STATUS.disallowed)
    if (this.#links.size >= this.#options.maxLinks) return commandStatus(opcode, STATUS.connectionLimit)
    this.#pending = {
      mac: addressText(data, 6),
      intervalMs: ((data[13] ?? 0) | ((data[14] ?? 0) << 8)) * 1.25,
      supervisionMs: ((data[19] ?? 0) | ((data[20] ?? 0) << 8)) * 10,
    }
    return commandStatus(opcode, STATUS.ok)
  }

  #cancelConnection(opcode: number): Uint8Array[] {
    if (this.#pending === undefined) return [commandComplete(opcode, STATUS.disallowed)]
    const address = addressBytes(this.#pending.mac)
    this.#pending = undefined
    const nothing = [0, 0, 0, 0, 0, 0, 0]
    return [
      commandComplete(opcode, STATUS.ok),
      event(0x3e, 0x01, STATUS.unknownConnection, 0, 0, 0, 0, ...address, ...nothing),
    ]
  }

  #connect(peer: VirtualController, { intervalMs, supervisionMs }: Pending): boolean {
    if (peer.#deaf || !peer.#advertising.on || peer.#links.size >= peer.#options.maxLinks) return false
    this.#pending = undefined
    peer.#stopAdvertising()
    this.#open(peer, 0, intervalMs, supervisionMs)
    peer.#open(this, 1, intervalMs, supervisionMs)
    return true
  }

  #open(peer: VirtualController, role: number, intervalMs: number, supervisionMs: number): void {
    const handle = this.#nextHandle++
    this.#links.set(handle, { handle, peer, intervalMs, supervisionMs, arriveMs: 0, lost: undefined })
    const timing = [...le16(Math.round(intervalMs / 1.25)), 0, 0, ...le16(Math.round(supervisionMs / 10)), 0]
    this.#toHost(event(0x3e, 0x01, 0, ...le16(handle), role, 0, ...addressBytes(peer.mac), ...timing))
  }

  #linkTo(peer: VirtualController): Link | undefined {
    for (const link of this.#links.values()) if (link.peer === peer) return link
    return undefined
  }

  #disconnect(opcode: number, data: Uint8Array): Uint8Array[] {
    const link = this.#links.get(data[0]! | (data[1]! << 8))
    if (link === undefined) return [commandStatus(opcode, STATUS.unknownConnection)]
    link.peer.#ended(this, STATUS.remoteUserTerminated)
    this.#forget(link)
    return [commandStatus(opcode, STATUS.ok), event(0x05, 0, ...le16(link.handle), STATUS.localHostTerminated)]
  }

  /** The far side ended the link in words. */
  #ended(peer: VirtualController, reason: number): void {
    const link = this.#linkTo(peer)
    if (link === undefined) return
    this.#forget(link)
    this.#toHost(event(0x05, 0, ...le16(link.handle), reason))
  }

  /** The far side is not heard any more: the link ends when its supervision time is over. */
  #silent(peer: VirtualController): void {
    const link = this.#linkTo(peer)
    if (link === undefined || link.lost !== undefined) return
    link.lost = this.#air.after(link.supervisionMs, () => {
      link.lost = undefined
      if (!peer.#dead && !peer.#deaf && this.#air.inRange(this.name, peer.name)) return
      this.#ended(peer, STATUS.connectionTimeout)
    })
  }

  pathChanged(): void {
    for (const link of this.#links.values()) {
      if (link.peer.#dead || link.peer.#deaf || !this.#air.inRange(this.name, link.peer.name)) this.#silent(link.peer)
    }
  }

  #forget(link: Link): void {
    link.lost?.cancel()
    this.#links.delete(link.handle)
    this.#completed.delete(link.handle)
  }

  #readRssi(opcode: number, data: Uint8Array): Uint8Array {
    const handle = data[0]! | (data[1]! << 8)
    const link = this.#links.get(handle)
    if (link === undefined) return commandComplete(opcode, STATUS.unknownConnection, ...le16(handle), 127)
    const { rssiDbm } = this.#air.between(this.name, link.peer.name)
    return commandComplete(opcode, STATUS.ok, ...le16(handle), rssiDbm & 0xff)
  }

  #acl(body: Uint8Array): void {
    const word = body[0]! | (body[1]! << 8)
    const handle = word & 0x0fff
    const link = this.#links.get(handle)
    if (link === undefined) return
    const { peer } = link
    const { latencyMs, loss } = this.#air.between(this.name, peer.name)
    if (peer.#dead || peer.#deaf || !this.#air.inRange(this.name, peer.name)) {
      this.#silent(peer)
      return
    }
    const packet = Uint8Array.from(body)
    // A host sends its first fragment with flag 0; the far host must see flag 2 (Vol 4 Part E 5.4.2).
    const flags = ((word >> 12) & 3) === 1 ? 1 : 2
    let delayMs = latencyMs
    while (loss > 0 && this.#air.random() < loss) delayMs += Math.max(1, link.intervalMs)
    const nowMs = this.#air.clock.monotonic()
    link.arriveMs = Math.max(link.arriveMs, nowMs + delayMs)
    const deliver = () => {
      this.#complete(handle)
      peer.#receive(this, packet, flags)
    }
    if (link.arriveMs <= nowMs) deliver()
    else this.#air.after(link.arriveMs - nowMs, deliver)
  }

  #receive(from: VirtualController, packet: Uint8Array, flags: number): void {
    const link = this.#linkTo(from)
    if (link === undefined || this.#deaf) return
    packet[0] = link.handle & 0xff
    packet[1] = (link.handle >> 8) | (flags << 4)
    this.#toHost(Buffer.concat([Uint8Array.of(PACKET.acl), packet]))
  }

  /** Tells the host once a turn of the event loop how many of its buffers are free again. */
  #complete(handle: number): void {
    this.#completed.set(handle, (this.#completed.get(handle) ?? 0) + 1)
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      if (this.#completed.size === 0 || this.#deaf) return
      const counts = [...this.#completed].flatMap(([link, count]) => [...le16(link), ...le16(count)])
      const links = this.#completed.size
      this.#completed.clear()
      this.#toHost(event(0x13, links, ...counts))
    })
  }
}
