import { Readable } from 'node:stream'
import { hasWildcard, TopicTrie, topicMatches } from '../../mappers/sdk/topic-filter.ts'
import type { BrokerMessage } from './emitter.ts'
import type { SessionFile } from './session-file.ts'

/** What aedes hands over of a client. */
interface ClientRef {
  readonly id: string
}

interface Subscription {
  readonly topic: string
  readonly qos: 0 | 1 | 2
}

/** A message or a pubrel as aedes passes them around. */
export interface Packet extends BrokerMessage {
  cmd?: string
  brokerId?: string
  messageId?: number
}

interface Outgoing {
  readonly id: number
  packet: Packet
  messageId: number | undefined
  readonly bytes: number
}

interface Queue {
  readonly entries: Outgoing[]
  bytes: number
}

interface Match {
  readonly clientId: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
}

export interface SessionLimits {
  readonly maxRetained: number
  readonly maxRetainedBytes: number
  /** Messages and bytes that wait for one client. */
  readonly maxQueued: number
  readonly maxQueuedBytes: number
  readonly maxSessions: number
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  maxRetained: 50_000,
  maxRetainedBytes: 64 * 1024 * 1024,
  maxQueued: 1000,
  maxQueuedBytes: 4 * 1024 * 1024,
  maxSessions: 1000,
}

const RESTORED = 'restored'

/**
 * What aedes takes as its `persistence`: retained messages, subscriptions and what waits for clients that are away, in
 * memory and, where it should survive, in the file. Bounded: a new message that does not fit is dropped and counted.
 */
export class Sessions {
  readonly #file: SessionFile | undefined
  readonly #limits: SessionLimits
  readonly #retained = new Map<string, Packet>()
  readonly #subscriptions = new Map<string, Map<string, Subscription>>()
  readonly #trie = new TopicTrie<Match>()
  readonly #queues = new Map<string, Queue>()
  readonly #incoming = new Map<string, Map<number, Packet>>()
  readonly #wills = new Map<string, Packet>()
  #retainedBytes = 0
  #lastId = 0
  #dropped = 0
  #refusedRetained = 0

  constructor(file: SessionFile | undefined, limits: SessionLimits = DEFAULT_SESSION_LIMITS) {
    this.#file = file
    this.#limits = limits
    for (const { topic, payload, qos } of file?.retained() ?? []) {
      this.#keep({ cmd: 'publish', topic, payload: Buffer.from(payload), qos, retain: true })
    }
    for (const { client, topic, qos } of file?.subscriptions() ?? []) this.#subscribe(client, { topic, qos })
    for (const stored of file?.outgoing() ?? []) {
      const { id, client, cmd, messageId, topic, qos, retain } = stored
      const payload = Buffer.from(stored.payload)
      this.#lastId = Math.max(this.#lastId, id)
      const packet: Packet = { cmd, topic, payload, qos, retain, brokerId: RESTORED, brokerCounter: id }
      if (messageId !== undefined) packet.messageId = messageId
      const queue = this.#queue(client)
      queue.entries.push({ id, packet, messageId, bytes: payload.length })
      queue.bytes += payload.length
    }
  }

  /** Messages that did not fit the queue of a client that was away. */
  get dropped(): number {
    return this.#dropped
  }

  get refusedRetained(): number {
    return this.#refusedRetained
  }

  get retainedCount(): number {
    return this.#retained.size
  }

  /** Whether a message with this topic is going to be written to the disk. */
  stores(topic: string, qos: number, retain: boolean): boolean {
    return this.#file !== undefined && (retain || (qos > 0 && this.#trie.match(topic).length > 0))
  }

  async setup(): Promise<void> {}

  async storeRetained(packet: Packet): Promise<void> {
    this.retain(packet, true)
  }

  /** @param lasting whether it is kept across restarts; a twin's messages are made anew and are not. */
  retain(packet: Packet, lasting: boolean): void {
    const { topic, qos } = packet
    const payload = bytesOf(packet.payload)
    if (payload.length === 0) {
      const known = this.#retained.get(topic)
      if (known === undefined) return
      this.#retained.delete(topic)
      this.#retainedBytes -= sizeOf(known)
      if (lasting) this.#file?.write('forget', topic)
      return
    }
    // A copy, for what is kept: the payload as it came is a window on a whole chunk of the connection.
    if (!this.#keep({ cmd: 'publish', topic, payload: Buffer.from(payload), qos, retain: true })) {
      this.#refusedRetained++
      return
    }
    if (lasting) this.#file?.write('retain', topic, payload, qos)
  }

  #keep(packet: Packet): boolean {
    const known = this.#retained.get(packet.topic)
    const bytes = this.#retainedBytes + sizeOf(packet) - (known === undefined ? 0 : sizeOf(known))
    const count = this.#retained.size + (known === undefined ? 1 : 0)
    if (bytes > this.#limits.maxRetainedBytes || count > this.#limits.maxRetained) return false
    this.#retainedBytes = bytes
    this.#retained.set(packet.topic, packet)
    return true
  }

  *retainedMatching(filters: readonly string[]): Generator<Packet> {
    for (const filter of filters) {
      if (!hasWildcard(filter)) {
        const packet = this.#retained.get(filter)
        if (packet !== undefined) yield packet
        continue
      }
      for (const [topic, packet] of this.#retained) if (topicMatches(filter, topic)) yield packet
    }
  }

  createRetainedStream(filter: string): Readable {
    return Readable.from(this.retainedMatching([filter]))
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.retainedMatching(filters))
  }

  async addSubscriptions(client: ClientRef, subscriptions: readonly Subscription[]): Promise<void> {
    if (!this.#subscriptions.has(client.id) && this.#subscriptions.size >= this.#limits.maxSessions) {
      throw new Error('the broker keeps no more sessions')
    }
    for (const { topic, qos } of subscriptions) {
      this.#subscribe(client.id, { topic, qos })
      this.#file?.write('subscribe', client.id, topic, qos)
    }
  }

  #subscribe(client: string, { topic, qos }: Subscription): void {
    let known = this.#subscriptions.get(client)
    if (known === undefined) this.#subscriptions.set(client, (known = new Map()))
    this.#unmatch(client, topic)
    known.set(topic, { topic, qos })
    if (qos > 0) this.#match(client, topic, qos)
  }

  readonly #matches = new Map<string, Match>()

  #match(clientId: string, topic: string, qos: 0 | 1 | 2): void {
    const match: Match = { clientId, topic, qos }
    this.#matches.set(`${clientId}\n${topic}`, match)
    this.#trie.add(topic, match)
  }

  #unmatch(clientId: string, topic: string): void {
    const match = this.#matches.get(`${clientId}\n${topic}`)
    if (match === undefined) return
    this.#matches.delete(`${clientId}\n${topic}`)
    this.#trie.remove(topic, match)
  }

  async removeSubscriptions(client: ClientRef, topics: readonly string[]): Promise<void> {
    const known = this.#subscriptions.get(client.id)
    if (known === undefined) return
    for (const topic of topics) {
      this.#unmatch(client.id, topic)
      if (known.delete(topic)) this.#file?.write('unsubscribe', client.id, topic)
    }
    if (known.size === 0) this.#subscriptions.delete(client.id)
  }

  async subscriptionsByClient(client: ClientRef): Promise<Subscription[]> {
    return [...(this.#subscriptions.get(client.id)?.values() ?? [])].map((one) => ({ ...one }))
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return { subsCount: this.#trie.size, clientsCount: this.#subscriptions.size }
  }

  async subscriptionsByTopic(topic: string): Promise<Match[]> {
    return this.matching(topic)
  }

  /** Sessions that want this topic with an acknowledgement, one entry a client. */
  matching(topic: string): Match[] {
    const matches = this.#trie.match(topic)
    if (matches.length < 2) return [...matches]
    const best = new Map<string, Match>()
    for (const match of matches) {
      if ((best.get(match.clientId)?.qos ?? -1) < match.qos) best.set(match.clientId, match)
    }
    return [...best.values()]
  }

  /** A session ends with everything that belongs to it. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    await this.removeSubscriptions(client, [...(this.#subscriptions.get(client.id)?.keys() ?? [])])
    for (const { id } of this.#queues.get(client.id)?.entries ?? []) this.#file?.write('acknowledge', id)
    this.#queues.delete(client.id)
  }

  async outgoingEnqueue(match: Match, packet: Packet): Promise<void> {
    this.enqueue([match], packet)
  }

  async outgoingEnqueueCombi(matches: readonly Match[], packet: Packet): Promise<void> {
    this.enqueue(matches, packet)
  }

  enqueue(matches: readonly Match[], packet: Packet): void {
    if (matches.length === 0) return
    const payload = Buffer.from(packet.payload)
    packet.payload = payload
    for (const { clientId } of matches) {
      const queue = this.#queue(clientId)
      if (
        queue.entries.length >= this.#limits.maxQueued ||
        queue.bytes + payload.length > this.#limits.maxQueuedBytes
      ) {
        this.#dropped++
        continue
      }
      const id = ++this.#lastId
      // The message itself and no copy: the number it gets when it is handed out is how it is found again.
      queue.entries.push({ id, packet, messageId: undefined, bytes: payload.length })
      queue.bytes += payload.length
      const retain = packet.retain ? 1 : 0
      this.#file?.write('enqueue', id, clientId, 'publish', null, packet.topic, payload, packet.qos, retain)
    }
  }

  #queue(client: string): Queue {
    let queue = this.#queues.get(client)
    if (queue === undefined) this.#queues.set(client, (queue = { entries: [], bytes: 0 }))
    return queue
  }

  /** A message got its identifier for this client, or a received message is now a pubrel to be repeated. */
  async outgoingUpdate(client: ClientRef, packet: Packet): Promise<void> {
    const entries = this.#queues.get(client.id)?.entries ?? []
    const isRelease = packet.cmd === 'pubrel'
    const entry = entries.findLast(({ packet: known, messageId }) =>
      isRelease
        ? messageId === packet.messageId
        : known.brokerCounter === packet.brokerCounter && known.brokerId === packet.brokerId,
    )
    // One that did not fit the queue goes out all the same; it is just not repeated.
    if (entry === undefined) return
    entry.messageId = packet.messageId
    if (!isRelease) return
    entry.packet = packet
    this.#file?.write('release', packet.messageId ?? null, entry.id)
  }

  async outgoingClearMessageId(client: ClientRef, packet: Packet): Promise<Packet | undefined> {
    const queue = this.#queues.get(client.id)
    const index = queue?.entries.findIndex(({ messageId }) => messageId === packet.messageId) ?? -1
    if (queue === undefined || index < 0 || packet.messageId === undefined) return undefined
    const [entry] = queue.entries.splice(index, 1)
    queue.bytes -= entry!.bytes
    if (queue.entries.length === 0) this.#queues.delete(client.id)
    this.#file?.write('acknowledge', entry!.id)
    return entry!.packet
  }

  outgoingStream(client: ClientRef): Readable {
    const entries = this.#queues.get(client.id)?.entries ?? []
    const packets = entries.map(({ packet, messageId }) =>
      messageId === undefined ? packet : { ...packet, messageId, dup: true },
    )
    return Readable.from(packets)
  }

  async incomingStorePacket(client: ClientRef, packet: Packet): Promise<void> {
    let known = this.#incoming.get(client.id)
    if (known === undefined) this.#incoming.set(client.id, (known = new Map()))
    known.set(packet.messageId!, packet)
  }

  async incomingGetPacket(client: ClientRef, packet: Packet): Promise<Packet> {
    const known = this.#incoming.get(client.id)?.get(packet.messageId!)
    if (known === undefined) throw new Error('no such packet')
    return known
  }

  async incomingDelPacket(client: ClientRef, packet: Packet): Promise<void> {
    if (this.#incoming.get(client.id)?.delete(packet.messageId!) !== true) throw new Error('no such packet')
  }

  async cleanIncoming(client: ClientRef): Promise<void> {
    this.#incoming.delete(client.id)
  }

  async putWill(client: ClientRef, packet: Packet): Promise<void> {
    this.#wills.set(client.id, packet)
  }

  async getWill(client: ClientRef): Promise<Packet | undefined> {
    return this.#wills.get(client.id)
  }

  async delWill(client: ClientRef): Promise<Packet | undefined> {
    const will = this.#wills.get(client.id)
    this.#wills.delete(client.id)
    return will
  }

  /** Wills of other brokers' clients: there is no other broker. */
  streamWill(): Readable {
    return Readable.from([])
  }

  getClientList(topic: string): Readable {
    return Readable.from([...this.#subscriptions].filter(([, topics]) => topics.has(topic)).map(([client]) => client))
  }

  async destroy(): Promise<void> {}
}

const bytesOf = (payload: Buffer | string | undefined): Buffer =>
  typeof payload === 'string' ? Buffer.from(payload) : (payload ?? Buffer.alloc(0))

const sizeOf = ({ topic, payload }: Packet): number => topic.length + payload.length
