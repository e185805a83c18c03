import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../agent/log.ts'
import { type RunningAgent, runAgent } from '../../agent/run.ts'
import { DeviceApi } from '../../api/client/device-api.ts'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { Device, DeviceModel, Gateway } from '../../api/resources.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, GATEWAYS, objectPath } from '../../cloudcore/kube/paths.ts'
import { type VirtualRadio, virtualRadio } from '../../hil/radio/virtual-radio.ts'

const TAG_MAC = 'A4:C1:38:00:00:01'
const DEVICE = 'default/tag'

/** A value as a subscriber of the cloud got it; times by `performance.now()`. */
export interface Arrival {
  readonly value: number
  readonly atMs: number
}

/**
 * A cloud core, agents with a Bluetooth radio each, and one tag that both hear: all real but for the air. The tag sends
 * a number that grows with each advertisement; a subscriber of the cloud's stream notes every one that arrives.
 */
export class RoamingHall implements AsyncDisposable {
  readonly core: CloudCore
  readonly kube: KubeClient
  readonly arrivals: Arrival[] = []
  /** The newest number on the air. */
  sent = -1
  readonly #radio: VirtualRadio
  readonly #agents = new Map<string, RunningAgent>()
  readonly #folder: string
  readonly #stack: AsyncDisposableStack
  #waiting: (() => void)[] = []

  private constructor(folder: string, core: CloudCore, stack: AsyncDisposableStack) {
    this.#folder = folder
    this.core = core
    this.#stack = stack
    this.kube = stack.use(new KubeClient(loadKubeconfig(core.info.kubeconfig)))
    this.#radio = stack.use(virtualRadio(systemClock, Math.random))
  }

  static async start(
    gateways: readonly string[],
    intervalMs: number,
    spec: Partial<Device['spec']>,
  ): Promise<RoamingHall> {
    const stack = new AsyncDisposableStack()
    try {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-roaming-'))
      stack.defer(() => rmSync(folder, { recursive: true, force: true }))
      const dataDir = join(folder, 'cloud')
      const core = stack.use(await runCloudCore({ dataDir, hubPort: 0, apiPort: 0, heartbeatMs: 1000 }))
      const hall = new RoamingHall(folder, core, stack)
      await hall.kube.create<DeviceModel>(collectionPath(DEVICE_MODELS, 'default'), MODEL)
      for (const [index, name] of gateways.entries()) await hall.#open(name, index)
      const ble = { mac: TAG_MAC }
      await hall.kube.create<Device>(collectionPath(DEVICES, 'default'), {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'Device',
        metadata: { name: 'tag' },
        spec: { model: 'tag', ble, nodeSelector: { hall: 'yes' }, ...spec },
      })
      await hall.#subscribe()
      hall.#radio.air.beacon({
        mac: TAG_MAC,
        intervalMs,
        data: (count) => {
          hall.sent = count
          const data = Buffer.from('02010607ffffff00000000', 'hex')
          data.writeUInt32LE(count, 7)
          return data
        },
      })
      return hall
    } catch (error) {
      await stack.disposeAsync()
      throw error
    }
  }

  /** How well a gateway hears the tag; -120 is not at all. */
  signal(gateway: string, rssiDbm: number): void {
    this.#radio.air.path(macOf([...this.#agents.keys()].indexOf(gateway)), TAG_MAC, { rssiDbm })
  }

  get serving(): string | undefined {
    return this.core.fleet.devices.get(DEVICE)?.gateway
  }

  agent(gateway: string): RunningAgent {
    return this.#agents.get(gateway)!
  }

  /** Ends a gateway's link at the hub; the agent connects again by itself. */
  cut(gateway: string): void {
    this.core.hub.disconnect(gateway, new SluiceError('SLUICE_LINK_REPLACED', 'cut off by the measurement'))
  }

  patch(spec: object): Promise<Device> {
    return this.kube.patch<Device>(objectPath(DEVICES, 'tag', 'default'), 'merge', { spec })
  }

  /** Resolves when `holds`, looked at after each arrival; rejects after `withinMs`. */
  async until(holds: () => boolean, what: string, withinMs = 30_000): Promise<void> {
    const deadline = AbortSignal.timeout(withinMs)
    while (!holds()) {
      await new Promise<void>((resolve, reject) => {
        const giveUp = () => reject(new Error(`never true: ${what}`))
        deadline.addEventListener('abort', giveUp, { once: true })
        this.#waiting.push(() => {
          deadline.removeEventListener('abort', giveUp)
          resolve()
        })
      })
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }

  async #open(name: string, index: number): Promise<void> {
    const dataDir = join(this.#folder, name)
    mkdirSync(dataDir)
    const { path } = this.#radio.add({ mac: macOf(index), buffers: 64 })
    const { token } = await this.core.createToken({ gateway: name })
    const joinTokenFile = join(this.#folder, `${name}.token`)
    writeFileSync(joinTokenFile, token, { mode: 0o600 })
    await this.kube.patch<Gateway>(objectPath(GATEWAYS, name), 'merge', { metadata: { labels: { hall: 'yes' } } })
    // Each gateway has a radio of its own behind the same name.
    const { ble } = await import('../../mappers/ble/protocol.ts')
    const { createMapper } = await import('../../mappers/ble/mapper.ts')
    const { NobleTransport } = await import('../../mappers/ble/transport-noble.ts')
    const load: typeof ble.load = async () => (host) =>
      createMapper(host, async () => new NobleTransport({ kind: 'uart', port: path, baud: 1_000_000 }, host.clock))
    const agent = await runAgent(
      { dataDir, gateway: name, joinTokenFile },
      { log: silentLog, protocols: [{ ...ble, load }] },
    )
    this.#agents.set(name, agent)
    this.#stack.use(agent)
  }

  async #subscribe(): Promise<void> {
    const stop = new AbortController()
    this.#stack.defer(() => stop.abort())
    const api = new DeviceApi(cloudEndpoint(join(this.#folder, 'cloud')))
    const opened = Promise.withResolvers<void>()
    const read = async () => {
      for await (const { events } of api.events({ kind: 'reported' }, stop.signal, '0', opened.resolve)) {
        const atMs = performance.now()
        for (const event of events) {
          if (event.kind === 'reported' && typeof event.value === 'number')
            this.arrivals.push({ value: event.value, atMs })
        }
        for (const wake of this.#waiting.splice(0)) wake()
      }
    }
    read().catch((error: unknown) => {
      if (!stop.signal.aborted) opened.reject(error)
    })
    await opened.promise
  }
}

const macOf = (index: number) => `C0:00:00:00:00:0${index + 1}`

const MODEL = {
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'tag' },
  spec: { properties: [{ name: 'count', type: 'int', ble: { manufacturer: 0xffff, at: 2, as: 'uint32' } }] },
}

/** What arrived of the numbers `from` to `through`: those that never did, those that came more than once. */
export function account(arrivals: readonly Arrival[], from: number, through: number) {
  const counts = new Map<number, number>()
  for (const { value } of arrivals) counts.set(value, (counts.get(value) ?? 0) + 1)
  let lost = 0
  let doubled = 0
  for (let value = from; value <= through; value++) {
    const count = counts.get(value) ?? 0
    if (count === 0) lost++
    if (count > 1) doubled++
  }
  return { lost, doubled }
}

/** The longest time without a value between two moments, milliseconds. */
export function longestSilence(arrivals: readonly Arrival[], fromMs: number, throughMs: number): number {
  const times = arrivals.map(({ atMs }) => atMs).filter((atMs) => atMs >= fromMs && atMs <= throughMs)
  let longest = 0
  for (let index = 1; index < times.length; index++) longest = Math.max(longest, times[index]! - times[index - 1]!)
  return longest
}
