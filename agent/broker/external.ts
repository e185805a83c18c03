import { readFileSync } from 'node:fs'
import type { IClientOptions, MqttClient } from 'mqtt'
import { SluiceError } from '../../api/errors.ts'
import { trustPublicAuthorities } from '../../api/public-authorities.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import { filterProblem, TopicTrie, topicProblem } from '../../mappers/sdk/topic-filter.ts'
import type { BrokerDeps } from './embedded.ts'
import type { GatewayBroker, SessionHooks } from './gateway-broker.ts'

export interface ExternalBrokerOptions {
  /** `mqtt://host:1883` or `mqtts://host:8883`. */
  readonly url: string
  readonly username?: string
  /** First line is the password: secrets have no place in a command line. */
  readonly passwordFile?: string
  readonly caFile?: string
}

type Listener = (topic: string, payload: Uint8Array, retained: boolean) => void

/** Messages that wait for the connection; more are dropped and counted. */
const MAX_WAITING = 1000
const RECONNECT_MS = 2000

/** Another broker on the network in place of the agent's own, for instance a Mosquitto that is there already. */
export async function openExternalBroker(
  options: ExternalBrokerOptions,
  deps: BrokerDeps,
  hooks: SessionHooks = {},
): Promise<GatewayBroker> {
  const { default: mqtt } = await import('mqtt')
  trustPublicAuthorities()
  const settings: IClientOptions = {
    reconnectPeriod: RECONNECT_MS,
    ...willOf(hooks),
    queueQoSZero: false,
    cacheNumbers: false,
    clean: true,
    resubscribe: false,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.passwordFile === undefined ? {} : { password: readPassword(options.passwordFile) }),
    ...(options.caFile === undefined ? {} : { ca: readFileSync(options.caFile) }),
  } as IClientOptions
  return new ExternalBroker(mqtt.connect(options.url, settings), new URL(options.url).host, deps, hooks)
}

/** Sparkplug B 3.0, section 6.4.13: acknowledged and not retained. */
function willOf(hooks: SessionHooks): Pick<IClientOptions, 'will'> {
  const will = hooks.will?.()
  if (will === undefined) return {}
  return { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: false } }
}

function readPassword(path: string): string {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/)[0]!
  } catch (cause) {
    throw new SluiceError('SLUICE_BROKER_PASSWORD', `The password file ${path} of the MQTT broker cannot be read`, {
      hint: 'Give a file that the user of the agent may read, with the password on its first line.',
      cause,
    })
  }
}

class ExternalBroker implements GatewayBroker {
  readonly port = undefined
  readonly tlsPort = undefined
  readonly local: LocalBroker = {
    publish: (topic, payload, options) => this.#publish(topic, payload, options?.retain ?? false, options?.qos ?? 0),
    subscribe: (filter, listener) => this.#subscribe(filter, listener),
  }
  readonly #client: MqttClient
  readonly #deps: BrokerDeps
  readonly #trie = new TopicTrie<Listener>()
  /** How many listeners hold each filter. */
  readonly #filters = new Map<string, number>()
  /** Retained messages to be said again when the connection is back: the newest of each topic. */
  #waiting = new Map<string, { readonly payload: Buffer; readonly retain: boolean; readonly qos: 0 | 1 }>()
  #dropped = 0
  #received = 0
  #sent = 0
  #told: string | undefined

  constructor(client: MqttClient, name: string, deps: BrokerDeps, hooks: SessionHooks) {
    this.#client = client
    this.#deps = deps
    client.setMaxListeners(0)
    client.on('connect', () => {
      this.#tell(`Connected to the MQTT broker ${name}`, 'info')
      const filters = [...this.#filters.keys()]
      if (filters.length > 0) client.subscribe(filters, { qos: 1 }, (error) => this.#subscribed(error))
      const waiting = this.#waiting
      this.#waiting = new Map()
      for (const [topic, { payload, retain, qos }] of waiting) this.#publish(topic, payload, retain, qos)
      hooks.connected?.()
    })
    client.on('error', (error) => this.#tell(`The MQTT broker ${name}: ${error.message}`, 'warn'))
    client.on('close', () => {
      Object.assign(client.options, willOf(hooks))
      this.#tell(`No connection to the MQTT broker ${name}`, 'warn')
    })
    client.on('message', (topic, payload, { retain }) => {
      this.#received++
      for (const listener of this.#trie.match(topic)) {
        try {
          listener(topic, payload, retain)
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error)
          this.#deps.log('error', `A subscriber inside the agent failed: ${reason}`)
        }
      }
    })
  }

  stats() {
    return {
      clients: this.#client.connected ? 1 : 0,
      subscriptions: this.#filters.size,
      retained: 0,
      received: this.#received,
      sent: this.#sent,
      dropped: { unconnected: this.#dropped },
    }
  }

  wants(): boolean {
    return this.#client.connected
  }

  /** What others may publish to is for that broker's own configuration to say. */
  protect(): void {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.endAsync(!this.#client.connected)
  }

  #publish(topic: string, payload: Uint8Array, retain: boolean, qos: 0 | 1): void {
    const problem = topicProblem(topic)
    if (problem !== undefined) {
      throw new SluiceError('SLUICE_BROKER_TOPIC', `Cannot publish to '${topic.slice(0, 100)}': ${problem}`, {
        hint: 'Check the topics in the model.',
      })
    }
    const buffer = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    if (this.#client.connected) {
      this.#sent++
      this.#client.publish(topic, buffer, { retain, qos })
    } else if ((retain || qos > 0) && (this.#waiting.has(topic) || this.#waiting.size < MAX_WAITING)) {
      this.#waiting.delete(topic)
      this.#waiting.set(topic, { payload: buffer, retain, qos })
    } else this.#dropped++
  }

  #subscribe(filter: string, listener: Listener): Disposable {
    const problem = filterProblem(filter)
    if (problem !== undefined) {
      throw new SluiceError('SLUICE_BROKER_TOPIC', `Cannot subscribe to '${filter.slice(0, 100)}': ${problem}`, {
        hint: 'Check the topics in the model.',
      })
    }
    // A wrapper each, so that the same function can be given twice and taken away once.
    const own: Listener = (topic, payload, retained) => listener(topic, payload, retained)
    this.#trie.add(filter, own)
    this.#filters.set(filter, (this.#filters.get(filter) ?? 0) + 1)
    // Subscribing once more makes the broker send what it has retained, which this listener has not seen.
    if (this.#client.connected) this.#client.subscribe(filter, { qos: 1 }, (error) => this.#subscribed(error))
    let ended = false
    return {
      [Symbol.dispose]: () => {
        if (ended) return
        ended = true
        this.#trie.remove(filter, own)
        const left = this.#filters.get(filter)! - 1
        if (left > 0) this.#filters.set(filter, left)
        else {
          this.#filters.delete(filter)
          if (this.#client.connected) this.#client.unsubscribe(filter)
        }
      },
    }
  }

  #subscribed(error: Error | null | undefined): void {
    if (error) this.#tell(`A subscription was refused: ${error.message}`, 'warn')
  }

  #tell(message: string, level: 'info' | 'warn'): void {
    if (message === this.#told) return
    this.#told = message
    this.#deps.log(level, message)
  }
}
