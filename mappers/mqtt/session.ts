import { readFileSync } from 'node:fs'
import type { IClientOptions, MqttClient } from 'mqtt'
import { delay, type Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { trustPublicAuthorities } from '../../api/public-authorities.ts'
import type { GatewayHost, LocalBroker } from '../sdk/mapper.ts'
import { readSecretFile } from '../sdk/secret-file.ts'
import { TopicTrie } from '../sdk/topic-filter.ts'
import type { BrokerConfig } from './device-config.ts'

export type MessageListener = (topic: string, payload: Uint8Array, retained: boolean) => void

export interface SessionState {
  readonly up: boolean
  /** Why not. */
  readonly reason?: string
}

/** One connection to a broker, shared by all devices behind it; knows no device and decodes no payload. */
export interface MqttSession extends AsyncDisposable {
  readonly state: SessionState
  /** Resolves when the broker has it (QoS 1) or it is on its way (QoS 0); rejects when there is no connection. */
  publish(topic: string, payload: Uint8Array, qos: 0 | 1, retain: boolean): Promise<void>
  /** Lasts over reconnections until disposed. */
  subscribe(filter: string, qos: 0 | 1, listener: MessageListener): Disposable
}

/** What a broker says for a connection that ends without a word, retained and with QoS 1. */
export interface Certificate {
  readonly topic: string
  readonly payload: Buffer
}

/** @param nextWill makes the will of each connection; the gateway's own broker needs none, it ends with the gateway */
export type OpenSession = (
  config: BrokerConfig,
  host: GatewayHost,
  onState: (state: SessionState) => void,
  nextWill?: () => Certificate,
) => MqttSession

export const openSession: OpenSession = (config, host, onState, nextWill) =>
  config.local ? new LocalSession(host, onState) : new RemoteSession(config, host, onState, nextWill)

/** The gateway's own broker, spoken to without a socket. */
class LocalSession implements MqttSession {
  state: SessionState = { up: false, reason: 'the broker is starting' }
  readonly #subscriptions = new Set<{ start(broker: LocalBroker): void }>()
  #broker: LocalBroker | undefined
  #closed = false

  constructor(host: GatewayHost, onState: (state: SessionState) => void) {
    host.broker().then(
      (broker) => {
        if (this.#closed) return
        this.#broker = broker
        this.state = { up: true }
        for (const subscription of this.#subscriptions) subscription.start(broker)
        onState(this.state)
      },
      (error: unknown) => {
        const { message, hint } = toSluiceError(error)
        this.state = { up: false, reason: hint === undefined ? message : `${message}. ${hint}` }
        if (!this.#closed) onState(this.state)
      },
    )
  }

  async publish(topic: string, payload: Uint8Array, qos: 0 | 1, retain: boolean): Promise<void> {
    if (this.#broker === undefined) throw notConnected('local', this.state.reason)
    this.#broker.publish(topic, payload, { qos, retain })
  }

  subscribe(filter: string, _qos: 0 | 1, listener: MessageListener): Disposable {
    let running: Disposable | undefined
    const subscription = {
      start: (broker: LocalBroker) => {
        running = broker.subscribe(filter, listener)
      },
    }
    this.#subscriptions.add(subscription)
    if (this.#broker !== undefined) subscription.start(this.#broker)
    return {
      [Symbol.dispose]: () => {
        this.#subscriptions.delete(subscription)
        running?.[Symbol.dispose]()
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
  }
}

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 60_000
/** So long an end in order may take. */
const END_MS = 1000
const CONNECT_TIMEOUT_MS = 15_000
/** Filters in one SUBSCRIBE: some brokers refuse long ones. */
const FILTERS_AT_ONCE = 50

/** A broker on the network. Reconnects for ever, more slowly and at odd times, and subscribes again. */
class RemoteSession implements MqttSession {
  state: SessionState = { up: false, reason: 'connecting' }
  readonly #config: BrokerConfig
  readonly #host: GatewayHost
  readonly #onState: (state: SessionState) => void
  readonly #nextWill: (() => Certificate) | undefined
  readonly #trie = new TopicTrie<MessageListener>()
  readonly #filters = new Map<string, { count: number; readonly qos: 0 | 1 }>()
  #client: MqttClient | undefined
  #waitMs = FIRST_WAIT_MS
  #timer: Timer | undefined
  #fresh = new Set<string>()
  #closed = false

  constructor(
    config: BrokerConfig,
    host: GatewayHost,
    onState: (state: SessionState) => void,
    nextWill: (() => Certificate) | undefined,
  ) {
    this.#config = config
    this.#host = host
    this.#onState = onState
    this.#nextWill = nextWill
    void this.#open()
  }

  publish(topic: string, payload: Uint8Array, qos: 0 | 1, retain: boolean): Promise<void> {
    const client = this.#client
    if (client?.connected !== true) return Promise.reject(notConnected(this.#config.name, this.state.reason))
    const buffer = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    return new Promise((resolve, reject) => {
      client.publish(topic, buffer, { qos, retain }, (error) => (error ? reject(error) : resolve()))
    })
  }

  subscribe(filter: string, qos: 0 | 1, listener: MessageListener): Disposable {
    this.#trie.add(filter, listener)
    const known = this.#filters.get(filter)
    this.#filters.set(filter, { count: (known?.count ?? 0) + 1, qos: known?.qos === 1 ? 1 : qos })
    this.#later(filter)
    let ended = false
    return {
      [Symbol.dispose]: () => {
        if (ended) return
        ended = true
        this.#trie.remove(filter, listener)
        const held = this.#filters.get(filter)!
        held.count--
        if (held.count > 0) return
        this.#filters.delete(filter)
        if (this.#client?.connected === true) this.#client.unsubscribe(filter)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    const client = this.#client
    if (client === undefined) return
    // The library waits for acknowledgements that a broken connection took with it, and for some of them for ever.
    const patience = new AbortController()
    const given = delay(this.#host.clock, END_MS, patience.signal).catch(() => undefined)
    await Promise.race([client.endAsync(!client.connected), given])
    patience.abort()
    client.stream?.destroy()
  }

  async #open(): Promise<void> {
    try {
      const { default: mqtt } = await import('mqtt')
      if (this.#closed) return
      trustPublicAuthorities()
      const client = mqtt.connect(this.#config.name, { ...optionsOf(this.#config), ...this.#will() })
      this.#client = client
      let reason = 'the connection was closed'
      client.on('error', (error) => {
        reason = reasonOf(error)
      })
      client.on('connect', () => {
        this.#waitMs = FIRST_WAIT_MS
        reason = 'the connection was closed'
        // Before anybody is told: what is asked for then must find somebody who listens to the answer.
        for (const filter of this.#filters.keys()) this.#fresh.add(filter)
        this.#subscribeFresh()
        this.#set({ up: true })
      })
      client.on('close', () => {
        this.#set({ up: false, reason })
        this.#reconnect(client)
      })
      client.on('message', (topic, payload, { retain }) => {
        for (const listener of this.#trie.match(topic)) listener(topic, payload, retain)
      })
    } catch (error) {
      // A password file that is not there yet may come.
      this.#set({ up: false, reason: toSluiceError(error).message })
      if (this.#closed) return
      this.#timer = this.#host.clock.after(LONGEST_WAIT_MS, () => void this.#open(), true)
    }
  }

  #reconnect(client: MqttClient): void {
    if (this.#closed) return
    const waitMs = this.#waitMs * (0.5 + this.#host.random() / 2)
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS)
    this.#timer?.cancel()
    const again = () => {
      Object.assign(client.options, this.#will())
      client.reconnect()
    }
    this.#timer = this.#host.clock.after(waitMs, again, true)
  }

  #will(): Pick<IClientOptions, 'will'> {
    return this.#nextWill === undefined ? {} : { will: { ...this.#nextWill(), qos: 1, retain: true } }
  }

  /** Subscriptions that come together go together; what is retained comes again with each. */
  #later(filter: string): void {
    if (this.#client?.connected !== true) return
    if (this.#fresh.size === 0) queueMicrotask(() => this.#subscribeFresh())
    this.#fresh.add(filter)
  }

  #subscribeFresh(): void {
    const filters = [...this.#fresh]
    this.#fresh = new Set()
    const client = this.#client
    if (client?.connected !== true) return
    for (let at = 0; at < filters.length; at += FILTERS_AT_ONCE) {
      const some = filters.slice(at, at + FILTERS_AT_ONCE).filter((filter) => this.#filters.has(filter))
      const wanted = Object.fromEntries(some.map((filter) => [filter, { qos: this.#filters.get(filter)!.qos }]))
      if (some.length === 0) continue
      client.subscribe(wanted, (error) => {
        if (!error || !client.connected) return
        this.#host.log('warn', `mqtt: ${this.#config.name} refused a subscription: ${error.message}`, {
          topics: some.slice(0, 5).join(' '),
        })
      })
    }
  }

  #set(state: SessionState): void {
    if (this.#closed || (this.state.up === state.up && this.state.reason === state.reason)) return
    this.state = state
    this.#onState(state)
  }
}

function optionsOf({ username, passwordFile, clientId, tls }: BrokerConfig): IClientOptions {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path))
  const options = {
    reconnectPeriod: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    resubscribe: false,
    queueQoSZero: false,
    clean: true,
    // It keeps 65 536 prebuilt numbers otherwise, 5 MiB for a small machine.
    cacheNumbers: false,
    ...(clientId === undefined ? {} : { clientId }),
    ...(username === undefined ? {} : { username }),
    ...(passwordFile === undefined ? {} : { password: readPassword(passwordFile) }),
    ...(tls?.caFile === undefined ? {} : { ca: read(tls.caFile) }),
    ...(tls?.certFile === undefined ? {} : { cert: read(tls.certFile) }),
    ...(tls?.keyFile === undefined ? {} : { key: read(tls.keyFile) }),
    ...(tls?.servername === undefined ? {} : { servername: tls.servername }),
  }
  return options as IClientOptions
}

function readPassword(path: string): string {
  try {
    return readSecretFile(path).split(/\r?\n/)[0]!
  } catch (cause) {
    throw new SluiceError(
      'SLUICE_MQTT_PASSWORD',
      `the password file ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: 'Give a file that the user of the agent and nobody else may read (chmod 600), with the password on its first line.',
        cause,
      },
    )
  }
}

/** What a person can act on: mqtt.js gives an AggregateError without a message when a host has several addresses. */
function reasonOf(error: Error): string {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ECONNREFUSED') return 'nobody listens there (ECONNREFUSED)'
  if (code === 'ENOTFOUND') return 'the name is not known (ENOTFOUND)'
  if (code === '5' || code === '4') return 'the broker refused the user name or password'
  return error.message === '' ? code : error.message
}

function notConnected(name: string, reason: string | undefined): SluiceError {
  return new SluiceError('SLUICE_MQTT_DOWN', `no connection to ${name}: ${reason ?? 'unknown'}`, {
    hint: 'Check that the broker runs and can be reached from the gateway.',
  })
}
