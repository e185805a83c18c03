import type { Clock } from '../../api/clock.ts'
import { FIRST_KINDS, type HelloFrame, type LinkObjectKind, type ObjectsAckFrame } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { ObjectSource } from './inventory.ts'
import type { LinkSocket } from './link-socket.ts'

export interface ReplicationOptions {
  readonly gateway: string
  readonly objects: ObjectSource
  readonly socket: LinkSocket
  readonly clock: Clock
  /** A Device is about to go to this gateway for the first time. */
  readonly onAssign: (key: ObjectKey) => void
  readonly onAck: (kind: LinkObjectKind, key: ObjectKey, refusal: { code: string; message: string } | undefined) => void
  /** An object was sent several times and never acknowledged. */
  readonly onSilence: (kind: LinkObjectKind, key: ObjectKey) => void
}

interface InFlight {
  rev: string
  sentMs: number
  tries: number
  bytes: number
}

const CHUNK_BYTES = 256 * 1024
const MAX_IN_FLIGHT_BYTES = 512 * 1024
const MAX_BUFFERED_BYTES = 1024 * 1024
const RESEND_AFTER_MS = 10_000
const MAX_TRIES = 5

type Id = `${LinkObjectKind} ${ObjectKey}`

const idOf = (kind: LinkObjectKind, key: ObjectKey): Id => `${kind} ${key}`

function splitId(id: Id): { kind: LinkObjectKind; key: ObjectKey } {
  const space = id.indexOf(' ')
  return { kind: id.slice(0, space) as LinkObjectKind, key: id.slice(space + 1) }
}

function count(counts: Map<Id, number>, id: Id, by: 1 | -1): void {
  const next = (counts.get(id) ?? 0) + by
  if (next <= 0) counts.delete(id)
  else counts.set(id, next)
}

/**
 * Brings what one gateway holds in step with what it should hold. Only names of what is behind are queued; the content
 * is taken when it is sent, so a slow link always gets the newest. Every object is acknowledged by itself and sent
 * again when its acknowledgement does not come.
 */
export class Replication {
  readonly #options: ReplicationOptions
  /** What the gateway holds, by its own account. */
  readonly #held = new Map<Id, string>()
  readonly #behind = new Set<Id>()
  readonly #inFlight = new Map<Id, InFlight>()
  /** In flight for so long that they are sent once more. */
  readonly #overdue = new Set<Id>()
  /** Acknowledgements that are still to come, by object, and how many of them are of before a delete. */
  readonly #awaited = new Map<Id, number>()
  readonly #outdated = new Map<Id, number>()
  #inFlightBytes = 0
  /** Kinds the agent takes. */
  #kinds: readonly string[] = FIRST_KINDS

  constructor(options: ReplicationOptions) {
    this.#options = options
  }

  get behind(): number {
    return this.#behind.size + this.#inFlight.size
  }

  /** Starts from what the agent said it holds. */
  start({ holds, kinds = FIRST_KINDS }: Pick<HelloFrame, 'holds' | 'kinds'>): void {
    const { objects, gateway } = this.#options
    this.#kinds = kinds
    for (const [kind, key, rev] of holds) this.#held.set(idOf(kind, key), rev)
    for (const { kind, key } of objects.wantedBy(gateway)) {
      const id = idOf(kind, key)
      if (this.#held.get(id) !== objects.rev(gateway, kind, key)) this.#behind.add(id)
      if (kind === 'Device') this.#options.onAssign(key)
    }
    for (const id of this.#held.keys()) {
      const { kind, key } = splitId(id)
      if (!objects.isWanted(gateway, kind, key)) this.#behind.add(id)
    }
    this.pump()
  }

  /** These objects may have changed, come or gone. */
  changed(objects: readonly (readonly [kind: LinkObjectKind, key: ObjectKey])[]): void {
    for (const [kind, key] of objects) this.#behind.add(idOf(kind, key))
    this.pump()
  }

  acknowledged(items: ObjectsAckFrame['items']): void {
    for (const { kind, key, rev, ok, code, message } of items) {
      const id = idOf(kind, key)
      count(this.#awaited, id, -1)
      // It took the object and has deleted it since: it may be on its way again, and is not there yet.
      if (this.#outdated.has(id)) {
        count(this.#outdated, id, -1)
        continue
      }
      const sent = this.#inFlight.get(id)
      // Something newer is on its way: what it has now is not what it will have.
      if (sent !== undefined && sent.rev !== rev) continue
      if (sent !== undefined) this.#land(id, sent)
      if (this.#options.objects.rev(this.#options.gateway, kind, key) !== rev) continue
      // A refused object is held in the sense that sending the same again would change nothing.
      this.#held.set(id, rev)
      const refusal = { code: code ?? 'SLUICE_LINK_REFUSED', message: message ?? 'the gateway refused the object' }
      this.#options.onAck(kind, key, ok ? undefined : refusal)
    }
    this.pump()
  }

  /** Call every few seconds: sends again what was not acknowledged. */
  sweep(): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [id, sent] of this.#inFlight) {
      if (nowMs - sent.sentMs < RESEND_AFTER_MS * sent.tries) continue
      if (sent.tries >= MAX_TRIES) {
        this.#land(id, sent)
        // It may have any of them; to be deleted when it is wanted no more.
        this.#held.set(id, '')
        const { kind, key } = splitId(id)
        this.#options.onSilence(kind, key)
      } else {
        this.#overdue.add(id)
        this.#behind.add(id)
      }
    }
    this.pump()
  }

  pump(): void {
    while (this.#behind.size > 0) {
      if (this.#inFlightBytes >= MAX_IN_FLIGHT_BYTES || this.#options.socket.bufferedBytes > MAX_BUFFERED_BYTES) return
      this.#sendChunk()
    }
  }

  #sendChunk(): void {
    const { objects, gateway, socket } = this.#options
    const upserts: string[] = []
    const deletes: { kind: LinkObjectKind; key: ObjectKey }[] = []
    let bytes = 0
    for (const id of this.#modelsFirst()) {
      if (bytes >= CHUNK_BYTES) break
      this.#behind.delete(id)
      const { kind, key } = splitId(id)
      if (!this.#kinds.includes(kind)) continue
      if (!objects.isWanted(gateway, kind, key)) {
        const sent = this.#inFlight.get(id)
        if (sent !== undefined) this.#land(id, sent)
        if (this.#held.delete(id) || sent !== undefined) deletes.push({ kind, key })
        const awaited = this.#awaited.get(id)
        if (awaited !== undefined) this.#outdated.set(id, awaited)
        bytes += key.length + 40
        continue
      }
      const rev = objects.rev(gateway, kind, key)!
      const again = this.#overdue.delete(id)
      if (this.#held.get(id) === rev || (this.#inFlight.get(id)?.rev === rev && !again)) continue
      const text = JSON.stringify(objects.linkObject(gateway, kind, key))
      if (kind === 'Device') this.#options.onAssign(key)
      upserts.push(text)
      bytes += text.length
      this.#launch(id, rev, text.length)
    }
    if (upserts.length === 0 && deletes.length === 0) return
    socket.send(`{"t":"objects","upserts":[${upserts.join()}],"deletes":${JSON.stringify(deletes)}}`)
  }

  *#modelsFirst(): Generator<Id> {
    if (this.#behind.size === 1) return yield* [...this.#behind]
    const all = [...this.#behind]
    for (const id of all) if (id.startsWith('DeviceModel ')) yield id
    for (const id of all) if (!id.startsWith('DeviceModel ')) yield id
  }

  #launch(id: Id, rev: string, bytes: number): void {
    const before = this.#inFlight.get(id)
    if (before !== undefined) this.#inFlightBytes -= before.bytes
    const tries = before?.rev === rev ? before.tries + 1 : 1
    count(this.#awaited, id, 1)
    this.#held.delete(id)
    this.#inFlight.set(id, { rev, sentMs: this.#options.clock.monotonic(), tries, bytes })
    this.#inFlightBytes += bytes
  }

  #land(id: Id, sent: InFlight): void {
    this.#inFlight.delete(id)
    this.#overdue.delete(id)
    this.#inFlightBytes -= sent.bytes
  }
}
