import { randomUUID } from 'node:crypto'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import {
  type AgentFrame,
  type BatchFrame,
  type DesireFrame,
  type GapFrame,
  type HelloFrame,
  type HubFrame,
  LINK_VERSION,
  type LinkObjectKind,
  type SeqRange,
} from '../../api/link/messages.ts'
import { addRange, missing } from '../../api/link/ranges.ts'
import type { DialFrame } from '../../api/link/streams.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { BatchOrigin } from '../twins/twin-engine.ts'
import { readAgentFrame } from './frames.ts'
import type { LinkSocket } from './link-socket.ts'
import { Replication } from './replication.ts'
import { RowGate } from './row-gate.ts'
import type { SessionContext } from './session-context.ts'
import type { EpochState } from './store.ts'

const HELLO_WITHIN_MS = 10_000

/** One connection of one gateway, from its hello to its end. Whatever arrives, it answers or closes; it never throws. */
export class Session {
  readonly gateway: string
  readonly id: string = randomUUID()
  readonly certificateExpiresMs: number
  epoch: EpochState | undefined
  lastHeardMs: number
  /** Wall clock of the last frame. */
  lastHeardWallMs: number
  readonly #context: SessionContext
  readonly #socket: LinkSocket
  #replication: Replication | undefined
  #rows: RowGate | undefined
  #closed = false
  #liveSeq = 0
  #backfillSeq = 0
  /** Numbers this connection said will never come; what they cost may not be durable yet. */
  #told: readonly SeqRange[] = []
  #unackedBytes = 0
  #paused = false
  #acks: readonly SeqRange[] = []
  /** Frames that wait, while they do. */
  #held: string[] | undefined
  /** Monotonic time of the last ping. */
  lastPingMs: number
  /** The hub's clock minus the gateway's: first as of the hello, then as the agent measures it. */
  clockOffsetMs = 0
  /** Version of streams that the agent opens; 0 before its hello and for one that opens none. */
  streams = 0

  constructor(context: SessionContext, gateway: string, socket: LinkSocket, certificateExpiresMs: number) {
    this.#context = context
    this.gateway = gateway
    this.#socket = socket
    this.certificateExpiresMs = certificateExpiresMs
    this.lastHeardMs = context.clock.monotonic()
    this.lastHeardWallMs = context.clock.now()
    this.lastPingMs = this.lastHeardMs
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Objects this gateway has not acknowledged yet. */
  get behind(): number {
    return this.#replication?.behind ?? 0
  }

  receive(text: string): void {
    if (this.#closed) return
    this.lastHeardMs = this.#context.clock.monotonic()
    this.lastHeardWallMs = this.#context.clock.now()
    if (this.#held !== undefined) {
      this.#held.push(text)
      return
    }
    try {
      this.#handle(readAgentFrame(text), text)
    } catch (thrown) {
      this.fail(toSluiceError(thrown))
    }
  }

  #pong(id: number): void {
    const lease = this.#context.lease?.(this.gateway)
    this.#send({ t: 'pong', id, nowMs: this.#context.clock.now(), ...(lease === undefined ? {} : { lease }) })
  }

  /** Leaves every frame that comes where it is until `until` is settled. */
  holdBack(until: Promise<void>): void {
    if (this.#held !== undefined || this.#closed) return
    this.#held = []
    this.#socket.pause()
    void until.then(() => {
      const held = this.#held ?? []
      this.#held = undefined
      for (const text of held) this.receive(text)
      if (!this.#paused && !this.#closed) this.#socket.resume()
    })
  }

  /** Says why and closes. */
  fail(error: SluiceError, audited = true): void {
    if (this.#closed) return
    if (audited) this.#context.audit(this.gateway, error.code, error.message)
    const { code, message, hint } = error
    this.#send({ t: 'error', code, message, ...(hint === undefined ? {} : { hint }) })
    this.#closed = true
    this.#socket.close(error.code === 'SLUICE_LINK_REPLACED' ? 4001 : 1008, code)
  }

  /** The connection is gone. */
  ended(): void {
    this.#closed = true
  }

  /** Asks for a stream; false while there is no hello or no link, undefined for an agent that opens none. */
  dial(frame: DialFrame): boolean | undefined {
    if (this.#closed || this.epoch === undefined) return false
    if (this.streams === 0) return undefined
    this.#send(frame)
    return true
  }

  objectsChanged(objects: readonly (readonly [LinkObjectKind, ObjectKey])[]): void {
    if (!this.#closed) this.#replication?.changed(objects)
  }

  /**
   * Call every few seconds: resends, and ends a connection that is silent or whose certificate ran out. `lateMs` is for how
   * long this process stood still: it heard nobody then, and nobody was silent.
   */
  sweep(lateMs: number): void {
    if (this.#closed) return
    const nowMs = this.#context.clock.monotonic()
    this.lastHeardMs = Math.min(nowMs, this.lastHeardMs + lateMs)
    const silentMs = nowMs - this.lastHeardMs
    if (this.#replication === undefined && silentMs > HELLO_WITHIN_MS) {
      this.fail(new SluiceError('SLUICE_LINK_NO_HELLO', 'no hello came in time'))
      return
    }
    if (silentMs > 2.5 * this.#context.heartbeatMs) {
      const heardSeconds = Math.round(silentMs / 1000)
      this.fail(new SluiceError('SLUICE_LINK_SILENT', `nothing was heard for ${heardSeconds} s`))
      return
    }
    if (this.certificateExpiresMs < this.#context.clock.now()) {
      this.fail(new SluiceError('SLUICE_LINK_CERT_EXPIRED', 'the certificate of this connection has expired'))
      return
    }
    this.#replication?.sweep()
  }

  #handle(frame: AgentFrame, text: string): void {
    if (frame.t === 'hello') {
      this.#hello(frame)
      return
    }
    if (this.#replication === undefined || this.epoch === undefined) {
      throw new SluiceError('SLUICE_LINK_NO_HELLO', `'${frame.t}' came before hello`)
    }
    switch (frame.t) {
      case 'batch':
        this.#batch(frame, text, this.epoch)
        return
      case 'ping':
        this.lastPingMs = this.#context.clock.monotonic()
        if (frame.offsetMs !== undefined) this.clockOffsetMs = frame.offsetMs
        this.#pong(frame.id)
        return
      case 'objectsAck':
        this.#replication.acknowledged(frame.items)
        return
      case 'snapshot':
        this.#context.ingest(
          this.#rows!.pass(frame.body, this.clockOffsetMs),
          this.#origin(this.epoch, frame.seq, false),
        )
        return
      case 'status':
        this.#context.onStatus(this.gateway, frame.status)
        return
      case 'sighted':
        this.#context.onSighted?.(this.gateway, frame.items)
        return
      case 'events':
        this.#context.onEvents?.(this.gateway, frame.items)
        return
      case 'heard':
        this.#context.onHeard?.(this.gateway, frame.items)
        return
      case 'pods':
        this.#context.onPods?.(this.gateway, frame.items, frame.statics)
        return
      case 'firmware':
        this.#context.onFirmware?.(this.gateway, frame.items)
        return
      case 'gap':
        this.#gap(frame, this.epoch)
        return
      case 'desire':
        void this.#desire(frame)
        return
      case 'dialRefused':
        this.#context.onDialRefused?.(this.gateway, frame)
        return
      case 'error':
        this.#context.audit(this.gateway, frame.code, frame.message)
        this.#closed = true
        this.#socket.close(1000, 'told')
        return
    }
  }

  #hello(hello: HelloFrame): void {
    const { store, clock, fleet, objects, heartbeatMs, window } = this.#context
    if (this.#replication !== undefined) throw new SluiceError('SLUICE_LINK_BAD_FRAME', 'a second hello')
    if (hello.v !== LINK_VERSION) {
      throw new SluiceError(
        'SLUICE_LINK_VERSION',
        `the agent speaks version ${hello.v} of the link, this hub ${LINK_VERSION}`,
        {
          hint: 'Update the older of the two.',
        },
      )
    }
    if (hello.gateway !== this.gateway) {
      throw new SluiceError(
        'SLUICE_LINK_WRONG_GATEWAY',
        `the agent calls itself '${hello.gateway}', its certificate is for '${this.gateway}'`,
        { hint: 'Start the agent with the name it joined with, or join again.' },
      )
    }
    this.#context.needWelcome?.(this.gateway, hello)
    const epoch = store.openEpoch(this.gateway, hello.epoch)
    if (hello.nowMs !== undefined) this.clockOffsetMs = clock.now() - hello.nowMs
    this.epoch = epoch
    this.streams = hello.streams ?? 0
    const rows = new RowGate(this.#context, this.gateway)
    this.#rows = rows
    this.#liveSeq = hello.lastSeq
    this.#backfillSeq = hello.firstSeq - 1
    this.#replication = new Replication({
      gateway: this.gateway,
      objects,
      socket: this.#socket,
      clock,
      onAssign: (key) => rows.assign(fleet.devices.get(key)!.uid, key),
      onAck: (kind, key, refusal) => this.#context.onObjectAck(this.gateway, kind, key, refusal),
      onSilence: (kind, key) =>
        this.#context.audit(this.gateway, 'SLUICE_LINK_NO_ACK', `${kind} ${key} was sent and never acknowledged`),
    })
    const welcome = { v: LINK_VERSION, session: this.id, nowMs: clock.now(), heartbeatMs, window }
    this.#send({ t: 'welcome', ...welcome, received: epoch.received })
    this.#context.onHello(this, hello)
    this.#replication.start(hello)
    const wait = this.#context.holdBack?.(this.gateway)
    if (wait !== undefined) this.holdBack(wait)
  }

  #batch(frame: BatchFrame, text: string, epoch: EpochState): void {
    const { store, clock } = this.#context
    const { seq, lane } = frame
    const range: SeqRange = [seq, seq]
    const known = store.has(epoch, seq)
    if (known !== undefined) {
      store.count(this.gateway, 'duplicates')
      if (known === 'durable') this.#ack(range)
      // Its first copy came over an earlier connection: acknowledge here once the commit that holds it is through.
      else store.add({ epoch, range, backfill: false, receivedMs: 0, done: (_, error) => this.#done(range, 0, error) })
      return
    }
    this.#watchForHoles(frame, epoch)
    const body = this.#rows!.pass(frame.body, this.clockOffsetMs)
    const origin = this.#origin(epoch, seq, lane === 'backfill')
    store.count(this.gateway, 'batches')
    this.#unackedBytes += text.length
    if (!this.#paused && this.#unackedBytes > 2 * this.#context.window.bytes) {
      this.#paused = true
      this.#socket.pause()
    }
    store.add({
      epoch,
      range,
      backfill: origin.backfill,
      receivedMs: clock.now(),
      body,
      frame: body === frame.body ? text : JSON.stringify({ ...frame, body }),
      done: (_, error) => this.#done(range, text.length, error),
    })
    this.#context.ingest(body, origin)
  }

  #gap(frame: GapFrame, epoch: EpochState): void {
    const { store, clock } = this.#context
    this.#told = addRange(this.#told, frame.range)
    const untold = missing(epoch.received, frame.range)
    for (const range of untold) {
      store.add({ epoch, range, backfill: true, receivedMs: clock.now(), done: (_, e) => this.#done(range, 0, e) })
    }
    if (untold.length === 0) {
      this.#ack(frame.range)
      return
    }
    // After an unclean end an agent leaves numbers out on purpose: nothing was lost, nobody has to know.
    if (frame.values === 0) return
    store.count(this.gateway, 'gaps')
    store.count(this.gateway, 'lostValues', frame.values)
    const [first, last] = frame.range
    const message = `the gateway had to drop batches ${first} to ${last} with ${frame.values} values`
    this.#context.audit(this.gateway, 'SLUICE_LINK_GAP', message)
  }

  /** Within a lane numbers only skip what is here already or was told as a gap. */
  #watchForHoles(frame: BatchFrame, epoch: EpochState): void {
    const last = frame.lane === 'live' ? this.#liveSeq : this.#backfillSeq
    if (frame.seq > last + 1) {
      let skipped = 0
      const absent = missing(this.#told, [last + 1, frame.seq - 1])
      for (const [first, end] of absent.flatMap((range) => missing(epoch.received, range))) {
        skipped += end - first + 1
        for (const seq of epoch.pending) if (seq >= first && seq <= end) skipped--
      }
      if (skipped > 0) {
        this.#context.store.count(this.gateway, 'unexplained', skipped)
        const message = `${skipped} batch(es) before ${frame.seq} are missing and nobody said why`
        this.#context.audit(this.gateway, 'SLUICE_LINK_HOLE', message)
      }
    }
    if (frame.lane === 'live') this.#liveSeq = Math.max(last, frame.seq)
    else this.#backfillSeq = Math.max(last, frame.seq)
  }

  #origin(epoch: EpochState, seq: number, backfill: boolean): BatchOrigin {
    const order = { epoch: epoch.ordinal, seq }
    return { gateway: this.gateway, order, receivedMs: this.#context.clock.now(), backfill }
  }

  async #desire(frame: DesireFrame): Promise<void> {
    const result = await this.#context.desire(this.gateway, frame).catch((thrown: unknown) => {
      const { code, message } = toSluiceError(thrown)
      return { ok: false, code, message }
    })
    this.#send({ t: 'desireResult', id: frame.id, ...result })
  }

  #done(range: SeqRange, bytes: number, error: SluiceError | undefined): void {
    this.#unackedBytes -= bytes
    if (this.#closed) return
    if (error !== undefined) {
      this.fail(error, false)
      return
    }
    if (this.#paused && this.#unackedBytes < this.#context.window.bytes) {
      this.#paused = false
      this.#socket.resume()
    }
    this.#ack(range)
  }

  /** One frame acknowledges everything that one commit made durable. */
  #ack(range: SeqRange): void {
    if (this.#acks.length === 0) queueMicrotask(() => this.#flushAcks())
    this.#acks = addRange(this.#acks, range)
  }

  #flushAcks(): void {
    const received = this.#acks
    this.#acks = []
    if (!this.#closed) this.#send({ t: 'ack', received })
  }

  #send(frame: HubFrame): void {
    if (!this.#closed) this.#socket.send(JSON.stringify(frame))
  }
}
