import { SluiceError } from '../../api/errors.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import type { BrokerDeps, EmbeddedBrokerOptions } from './embedded.ts'
import type { ExternalBrokerOptions } from './external.ts'
import type { GatewayBroker, SessionHooks } from './gateway-broker.ts'

export interface MqttOptions
  extends Pick<EmbeddedBrokerOptions, 'port' | 'tls' | 'host' | 'anonymousLoopback' | 'limits'> {
  /** No broker at all: devices that want the gateway's own are told so. */
  readonly off?: boolean
  /** Another broker in place of the agent's own. */
  readonly external?: ExternalBrokerOptions
  /** Twins as topics for every client of the broker. Default true. */
  readonly northbound?: boolean
  /** Appear as a Sparkplug B edge node of this group. */
  readonly sparkplugGroup?: string
  /** Only while this Sparkplug host application is online. */
  readonly sparkplugHost?: string
}

/** Where MQTT devices look for a broker (IANA). */
const MQTT_PORT = 1883

export interface BrokerServiceOptions {
  readonly mqtt: MqttOptions | undefined
  readonly directory: string
  /** What is to run on the broker, loaded before it starts. */
  readonly prepare: () => Promise<
    | {
        readonly hooks: SessionHooks
        attach(broker: GatewayBroker): AsyncDisposable
      }
    | undefined
  >
}

/** The gateway's broker, loaded and started when the first device or option wants it; costs nothing before. */
export class BrokerService implements AsyncDisposable {
  readonly #options: BrokerServiceOptions
  readonly #deps: BrokerDeps
  #starting: Promise<GatewayBroker> | undefined
  #running: GatewayBroker | undefined
  #attached: AsyncDisposable | undefined
  #closed = false

  constructor(options: BrokerServiceOptions, deps: BrokerDeps) {
    this.#options = options
    this.#deps = deps
  }

  /** The broker, when it runs. */
  get running(): GatewayBroker | undefined {
    return this.#running
  }

  /** Starts it when it does not run yet. A start that failed is tried again by the next call. */
  async local(): Promise<LocalBroker> {
    const { mqtt } = this.#options
    if (mqtt?.off === true || this.#closed) {
      throw new SluiceError('SLUICE_BROKER_DISABLED', 'This agent runs without an MQTT broker of its own', {
        hint: 'Start it without `--mqtt-port off`, or give the device a broker of its own.',
      })
    }
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return (await this.#starting).local
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.#starting?.catch(() => {})
    await this.#attached?.[Symbol.asyncDispose]()
    await this.#running?.[Symbol.asyncDispose]()
  }

  async #start(): Promise<GatewayBroker> {
    const { mqtt = {}, directory } = this.#options
    const prepared = await this.#options.prepare()
    const broker =
      mqtt.external === undefined
        ? await (await import('./embedded.ts')).openEmbeddedBroker(
            { ...mqtt, directory, ...(mqtt.port === undefined && mqtt.tls === undefined ? { port: MQTT_PORT } : {}) },
            this.#deps,
          )
        : await (await import('./external.ts')).openExternalBroker(mqtt.external, this.#deps, prepared?.hooks)
    this.#running = broker
    const where = broker.port === undefined ? '' : ` on port ${broker.port}`
    const tls = broker.tlsPort === undefined ? '' : ` and with TLS on port ${broker.tlsPort}`
    if (mqtt.external === undefined) this.#deps.log('info', `The MQTT broker listens${where}${tls}`)
    this.#attached = prepared?.attach(broker)
    return broker
  }
}
