import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import {
  type AgentFrame,
  type BatchBody,
  DEFAULT_HEARTBEAT_S,
  type HubFrame,
  LINK_VERSION,
  MAX_FRAME_BYTES,
  type WelcomeFrame,
} from '../../api/link/messages.ts'
import { type DialFrame, type DialRefusedFrame, STREAM_VERSION } from '../../api/link/streams.ts'
import type { GatewayStatus } from '../../api/resources.ts'
import type { AgentCore } from '../core.ts'
import type { Log } from '../log.ts'
import { snapshotParts } from '../twin/snapshot.ts'
import { Announcements } from './announcements.ts'
import { parseHubFrame, unexpected } from './frames.ts'
import { Lanes } from './lanes.ts'
import { ObjectAcks } from './object-acks.ts'
import { Pings } from './pings.ts'
import type { LinkStatus } from './status.ts'
import type { Transport } from './transport.ts'

export interface SessionOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  readonly agentVersion: string
  readonly status: LinkStatus
  readonly gatewayStatus: () => GatewayStatus
  /** The hub answered a ping: `leaseUntilMs` has moved. */
  readonly onLease: () => void
  /** The hub asks for a stream; `refuse` says over this connection why there will be none. Absent: it is not to ask. */
  readonly onDial?: (dial: DialFrame, refuse: (refusal: DialRefusedFrame) => void) => void
}

/** A hub that says nothing for this many heartbeats is taken for gone. */
const SILENT_HEARTBEATS = 2.5
/** A ping without an answer for this long when the connection ends was lost with it. */
const LOST_AT_END_MS = 3000
const WELCOME_TIMEOUT_MS = 10_000
const DELETE_MS = 100
const STATUS_MIN_MS = 1000
const SNAPSHOT_SOCKET_BYTES = 1024 * 1024

/**
 * One connection from `hello` to its end, as a state machine without a socket: `greeting` until the welcome, then
 * `snapshot` while the state of every twin is being sent, then `streaming`.
 */
export class Session {
  readonly #options: SessionOptions
  readonly #transport: Transport
  readonly #startMs: number
  #phase: 'greeting' | 'snapshot' | 'streaming' | 'closed' = 'greeting'
  #lanes: Lanes | undefined
  #snapshot: Iterator<BatchBody> | undefined
  readonly #boundary: number
  #heartbeatMs = DEFAULT_HEARTBEAT_S * 1000
  #heardMs: number
  readonly #pings: Pings
  readonly #acks: ObjectAcks
  #heartbeat: Timer | undefined
  #leaseTimer: Timer | undefined
  #deleteTimer: Timer | undefined
  #statusTimer: Timer | undefined
  #statusText = ''
  readonly #announcements: Announcements
  readonly #offered = new Set<string>()

  constructor(options: SessionOptions, transport: Transport) {
    this.#options = options
    this.#transport = transport
    this.#startMs = options.clock.monotonic()
    this.#heardMs = this.#startMs
    const { store, objects, batcher, sightings, notices, heard, pods, updates } = options.core
    this.#pings = new Pings({
      clock: options.clock,
      status: options.status,
      send: (ping) => this.#send(ping),
      onOffset: (offsetMs) => {
        options.core.hubOffsetMs = offsetMs
        options.status.clockOffsetMs = offsetMs
      },
    })
    this.#acks = new ObjectAcks(options.core, () => this.#sendAcks())
    this.#announcements = new Announcements({
      ...{ clock: options.clock, sightings, notices, heard, pods, updates, statics: () => objects.statics },
      send: (frame) => this.#send(frame),
      ping: () => this.#pings.send(),
    })
    batcher.flush()
    this.#boundary = store.lastSeq
    this.#send({
      t: 'hello',
      v: LINK_VERSION,
      gateway: options.gateway,
      epoch: store.epoch,
      agentVersion: options.agentVersion,
      lastSeq: store.lastSeq,
      firstSeq: store.firstSeq,
      holds: objects.holds,
      kinds: options.core.kinds,
      ...(options.core.machine === undefined ? {} : { machine: options.core.machine }),
      ...(options.onDial === undefined ? {} : { streams: STREAM_VERSION }),
      nowMs: options.clock.now(),
    })
    this.#heartbeat = options.clock.after(WELCOME_TIMEOUT_MS, () => this.#beat(), true)
  }

  get streaming(): boolean {
    return this.#phase === 'streaming'
  }

  /** How long the session has been up, milliseconds; 0 before the welcome. */
  get upMs(): number {
    return this.#phase === 'greeting' ? 0 : this.#options.clock.monotonic() - this.#startMs
  }

  /** Whether the hub has everything but what is in flight. */
  get caughtUp(): boolean {
    return this.streaming && this.#lanes!.caughtUp
  }

  receive(text: string | undefined): void {
    if (this.#phase === 'closed') return
    this.#heardMs = this.#options.clock.monotonic()
    try {
      this.#take(parseHubFrame(text))
    } catch (thrown) {
      this.#fail(toSluiceError(thrown))
    }
  }

  /** Sends what may be sent now: after a commit, an acknowledgement or when the socket drained. */
  pump(): void {
    try {
      if (this.#phase === 'snapshot') this.#pumpSnapshot()
      if (this.#phase === 'streaming') this.#lanes!.pump()
      this.#sendAcks()
      this.#count()
    } catch (thrown) {
      this.#fail(toSluiceError(thrown))
    }
  }

  gapsChanged(): void {
    if (this.#phase === 'streaming') this.#lanes!.tellGaps()
  }

  offerDesires(): void {
    if (this.#phase === 'greeting' || this.#phase === 'closed') return
    for (const desire of this.#options.core.desires) {
      if (this.#offered.has(desire.id)) continue
      this.#offered.add(desire.id)
      this.#send({ t: 'desire', ...desire })
    }
  }

  /** Sends the gateway's status soon; changes that come together are told once. */
  statusChanged(): void {
    if (this.#phase === 'greeting' || this.#phase === 'closed' || this.#statusTimer !== undefined) return
    this.#statusTimer = this.#options.clock.after(
      STATUS_MIN_MS,
      () => {
        this.#statusTimer = undefined
        this.#sendStatus()
      },
      true,
    )
  }

  /** There is something new of this kind. */
  announce(what: 'sighted' | 'heard' | 'updates' | 'pods' | 'noticed'): void {
    if (this.#phase !== 'greeting' && this.#phase !== 'closed') this.#announcements[what]()
  }

  /**
   * Monotonic time until which the hub has promised not to let another gateway write to a roaming device of ours. Counts
   * from when we asked, so that it ends here before it ends there.
   */
  get leaseUntilMs(): number {
    return this.#pings.answeredFromMs + SILENT_HEARTBEATS * this.#heartbeatMs
  }

  /** The connection is gone; what was acknowledged is deleted, everything else is sent again later. */
  closed(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#acks.close()
    this.#pings.loseOlderThan(LOST_AT_END_MS)
    this.#heartbeat?.cancel()
    this.#statusTimer?.cancel()
    this.#announcements[Symbol.dispose]()
    this.#deleteTimer?.cancel()
    try {
      this.#lanes?.deleteAcknowledged()
    } catch {
      // The store has said so; the rows are acknowledged again by the next welcome.
    }
  }

  #take(frame: HubFrame): void {
    if (frame.t === 'error') {
      this.#refused(
        new SluiceError('SLUICE_LINK_REFUSED', `The hub ended the link: ${frame.code}: ${frame.message}`, {
          ...(frame.hint === undefined ? {} : { hint: frame.hint }),
        }),
      )
      return
    }
    if (this.#phase === 'greeting') {
      if (frame.t !== 'welcome') throw unexpected(frame.t, 'before the welcome')
      this.#welcome(frame)
      return
    }
    switch (frame.t) {
      case 'welcome':
        throw unexpected('welcome', 'twice')
      case 'objects':
        this.#options.core.objects.apply(frame).then(
          (items) => {
            if (this.#phase === 'closed') return
            this.#acks.add(frame, items)
            this.statusChanged()
          },
          (thrown: unknown) => this.#fail(toSluiceError(thrown)),
        )
        return
      case 'ack':
        this.#lanes!.acknowledge(frame)
        this.#deleteTimer ??= this.#options.clock.after(DELETE_MS, () => this.#deleteNow(), true)
        this.pump()
        return
      case 'desireResult':
        if (!frame.ok) {
          this.#options.log('warn', `The hub refused a local desired value: ${frame.message ?? ''}`, {
            id: frame.id,
            code: frame.code ?? '',
          })
        }
        this.#options.core.desireAnswered(frame.id)
        return
      case 'dial':
        this.#options.onDial?.(frame, (refusal) => {
          if (this.#phase !== 'closed') this.#send(refusal)
        })
        return
      case 'pong':
        if (!this.#pings.answered(frame.id, frame.nowMs)) return
        this.#options.onLease()
        if (frame.lease !== undefined) this.#led(frame.lease)
        this.#announcements.pong(frame.id)
        return
    }
  }

  /** A lease shorter than the heartbeats is asked for more often: two questions may be lost before it is over. */
  #led(lease: { readonly term: number; readonly spanMs: number }): void {
    this.#options.core.tether.grant({ ...lease, askedMs: this.#pings.answeredFromMs })
    const againMs = lease.spanMs / 3
    if (againMs >= this.#heartbeatMs) return
    this.#leaseTimer?.cancel()
    this.#leaseTimer = this.#options.clock.after(againMs, () => this.#phase === 'closed' || this.#pings.send(), true)
  }

  #welcome({ received, window, nowMs, heartbeatMs }: WelcomeFrame): void {
    const { core, clock, status } = this.#options
    this.#heartbeatMs = heartbeatMs
    status.clockOffsetMs = nowMs - clock.now()
    core.hubOffsetMs = status.clockOffsetMs
    status.lastError = undefined
    this.#lanes = new Lanes(core.store, this.#transport, window, this.#boundary, received)
    this.#lanes.begin()
    this.#phase = 'snapshot'
    this.#snapshot = snapshotParts([...core.engine.devices.values()])
    this.#heartbeat?.cancel()
    this.#armHeartbeat()
    this.#sendStatus()
    this.#announcements.begin()
    this.#pings.send()
    this.offerDesires()
    this.pump()
  }

  #pumpSnapshot(): void {
    const { batcher, store } = this.#options.core
    while (this.#transport.bufferedBytes < SNAPSHOT_SOCKET_BYTES) {
      // What the part says is true as of the newest stored batch: nothing may be waiting in memory.
      batcher.flush()
      const part = this.#snapshot!.next()
      if (this.#phase !== 'snapshot') return
      if (part.done === true) {
        this.#send({ t: 'snapshot', seq: store.lastSeq, last: true, body: { d: [] } })
        this.#phase = 'streaming'
        return
      }
      this.#send({ t: 'snapshot', seq: store.lastSeq, last: false, body: part.value })
    }
  }

  #sendAcks(): void {
    const sentThrough = (seq: number) => this.#phase === 'streaming' && this.#lanes!.sentThrough(seq)
    for (const items of this.#acks.ready(sentThrough)) this.#send({ t: 'objectsAck', items })
  }

  #armHeartbeat(): void {
    const { clock } = this.#options
    const dueMs = clock.monotonic() + this.#heartbeatMs
    this.#heartbeat = clock.after(
      this.#heartbeatMs,
      () => {
        // Whoever stood still heard nobody and asked nobody: that is not the hub's silence.
        const nowMs = clock.monotonic()
        this.#heardMs = Math.min(nowMs, this.#heardMs + nowMs - dueMs)
        this.#beat()
        if (this.#phase !== 'closed') this.#armHeartbeat()
      },
      true,
    )
  }

  #beat(): void {
    const silentMs = this.#options.clock.monotonic() - this.#heardMs
    if (this.#phase === 'greeting' || silentMs > SILENT_HEARTBEATS * this.#heartbeatMs) {
      this.#fail(
        new SluiceError('SLUICE_LINK_SILENT', `The hub said nothing for ${Math.round(silentMs / 1000)} s`, {
          hint: 'Nothing to do: the agent connects again by itself.',
        }),
      )
      return
    }
    this.#pings.loseOlderThan(this.#heartbeatMs)
    this.#pings.send()
    this.#sendStatus(true)
  }

  #sendStatus(always = false): void {
    const status = this.#options.gatewayStatus()
    const text = JSON.stringify(status)
    if (!always && text === this.#statusText) return
    this.#statusText = text
    this.#send({ t: 'status', status })
  }

  #deleteNow(): void {
    this.#deleteTimer = undefined
    try {
      this.#lanes?.deleteAcknowledged()
    } catch {
      // Said by the store; tried again with the next acknowledgement.
    }
  }

  #count(): void {
    if (this.#lanes === undefined) return
    const { status } = this.#options
    status.ackedBatches += this.#lanes.ackedBatches
    status.sentBytes += this.#lanes.sentBytes
    this.#lanes.ackedBatches = 0
    this.#lanes.sentBytes = 0
  }

  #send(frame: AgentFrame): void {
    const text = JSON.stringify(frame)
    if (text.length > MAX_FRAME_BYTES) {
      throw new SluiceError(
        'SLUICE_LINK_TOO_LARGE',
        `A frame of type '${frame.t}' has ${text.length} bytes, at most ${MAX_FRAME_BYTES} are allowed`,
        {
          hint: 'Give the gateway fewer devices, or report this with the type of frame.',
        },
      )
    }
    this.#options.status.sentBytes += text.length
    this.#transport.send(text)
  }

  #fail(error: SluiceError): void {
    if (this.#phase === 'closed') return
    const { code, message, hint } = error
    this.#send({ t: 'error', code, message: message.slice(0, 1024), ...(hint === undefined ? {} : { hint }) })
    this.#refused(error)
  }

  #refused({ code, message, hint }: SluiceError): void {
    const { status, log } = this.#options
    // The same trouble at every attempt is said once.
    const repeated = status.lastError?.code === code && status.lastError.message === message
    status.lastError = { code, message }
    log(repeated ? 'debug' : 'warn', message, { code, hint: hint ?? '' })
    this.closed()
    this.#transport.close(message)
  }
}
