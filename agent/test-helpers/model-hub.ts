import type { Clock } from '../../api/clock.ts'
import {
  type AgentFrame,
  type BatchBody,
  type BatchFrame,
  type DesireFrame,
  type HeardItem,
  type HelloFrame,
  type HubFrame,
  LINK_VERSION,
  type LinkObject,
  type ObjectsAckFrame,
  type SeqRange,
} from '../../api/link/messages.ts'
import type { NoticeItem } from '../../api/link/notices.ts'
import { addRange, contains } from '../../api/link/ranges.ts'
import type { Dial, Transport, TransportEvents } from '../link/transport.ts'

const LATENCY_MS = 1

/**
 * The least hub that keeps the link's promises, in virtual time. A connection can be made to break after any number
 * of delivered frames; what was still on its way in either direction is lost then.
 */
export class ModelHub {
  readonly #clock: Clock
  received: readonly SeqRange[] = []
  /** Every batch it took, in order of arrival; duplicates are not taken. */
  readonly stored: { readonly connection: number; readonly frame: BatchFrame }[] = []
  readonly snapshots: { readonly connection: number; readonly seq: number; readonly body: BatchBody }[] = []
  readonly gaps: { readonly range: SeqRange; readonly values: number }[] = []
  readonly hellos: HelloFrame[] = []
  readonly acks: ObjectsAckFrame['items'][number][] = []
  readonly desires: DesireFrame[] = []
  /** The ids of each frame of sightings. */
  readonly sighted: (readonly string[])[] = []
  /** Every notice as it came. */
  readonly notices: NoticeItem[] = []
  readonly heard: HeardItem[] = []
  /** What arrived, in words: `1 hello`, `1 batch live 7`. */
  readonly journal: string[] = []
  objects: LinkObject[] = []
  window = { batches: 4, bytes: 64 * 1024 }
  /** Frames delivered before each connection breaks; the last connections stay. */
  cuts: number[] = []
  refuseConnections = false
  duplicates = 0
  mostInFlight = 0
  connections = 0
  #open: { send(frame: HubFrame): void; cut(): void } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  send(frame: HubFrame): void {
    this.#open?.send(frame)
  }

  cut(): void {
    this.#open?.cut()
  }

  readonly dial: Dial = (events) => {
    if (this.refuseConnections) {
      this.#clock.after(LATENCY_MS, () => events.onClose('connection refused'))
      return { close: () => {} }
    }
    return this.#connect(events)
  }

  #connect(events: TransportEvents): { close(reason: string): void } {
    const connection = ++this.connections
    let left = this.cuts.shift() ?? Number.POSITIVE_INFINITY
    let open = true
    const close = (reason: string) => {
      if (!open) return
      open = false
      events.onClose(reason)
    }
    const deliver = (work: () => void) => {
      this.#clock.after(LATENCY_MS, () => {
        if (!open) return
        if (left-- <= 0) close('cut')
        else work()
      })
    }
    let unacked = 0
    const send = (frame: HubFrame) => {
      const text = JSON.stringify(frame)
      deliver(() => events.onMessage(text))
    }
    const transport: Transport = {
      bufferedBytes: 0,
      send: (text) => {
        const frame = JSON.parse(text) as AgentFrame
        if (frame.t === 'batch') this.mostInFlight = Math.max(this.mostInFlight, ++unacked)
        deliver(() => {
          if (frame.t === 'batch') {
            this.#batch(connection, frame)
            this.#clock.after(LATENCY_MS, () => {
              unacked--
            })
            send({ t: 'ack', received: [[frame.seq, frame.seq]] })
          } else this.#take(connection, frame, send)
        })
      },
      close,
    }
    this.#open = { send, cut: () => close('cut') }
    deliver(() => events.onOpen(transport))
    return { close }
  }

  #batch(connection: number, frame: BatchFrame): void {
    this.journal.push(`${connection} batch ${frame.lane} ${frame.seq}`)
    if (contains(this.received, frame.seq)) {
      this.duplicates++
      return
    }
    this.received = addRange(this.received, [frame.seq, frame.seq])
    this.stored.push({ connection, frame })
  }

  #take(connection: number, frame: Exclude<AgentFrame, BatchFrame>, send: (frame: HubFrame) => void): void {
    this.journal.push(`${connection} ${frame.t}`)
    switch (frame.t) {
      case 'hello': {
        this.hellos.push(frame)
        const { received, window } = this
        const nowMs = this.#clock.now()
        send({ t: 'welcome', v: LINK_VERSION, session: `${connection}`, nowMs, heartbeatMs: 15_000, received, window })
        const held = new Set(frame.holds.map(([kind, key, rev]) => `${kind} ${key} ${rev}`))
        const upserts = this.objects.filter(({ kind, key, rev }) => !held.has(`${kind} ${key} ${rev}`))
        const wanted = new Set(this.objects.map(({ kind, key }) => `${kind} ${key}`))
        const deletes = frame.holds
          .filter(([kind, key]) => !wanted.has(`${kind} ${key}`))
          .map(([kind, key]) => ({ kind, key }))
        if (upserts.length > 0 || deletes.length > 0) send({ t: 'objects', upserts, deletes })
        return
      }
      case 'sighted':
        this.sighted.push(frame.items.map(({ id }) => id))
        return
      case 'events':
        this.notices.push(...frame.items)
        return
      case 'heard':
        this.heard.push(...frame.items)
        return
      case 'snapshot':
        this.snapshots.push({ connection, seq: frame.seq, body: frame.body })
        return
      case 'gap':
        this.gaps.push(frame)
        this.received = addRange(this.received, frame.range)
        send({ t: 'ack', received: [frame.range] })
        return
      case 'objectsAck':
        this.acks.push(...frame.items)
        return
      case 'desire':
        this.desires.push(frame)
        send({ t: 'desireResult', id: frame.id, ok: true })
        return
      case 'ping':
        send({ t: 'pong', id: frame.id })
        return
      case 'status':
      case 'error':
        return
    }
  }
}
