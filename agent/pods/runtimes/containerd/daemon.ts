import { type Clock, delay } from '../../../../api/clock.ts'
import { SluiceError } from '../../../../api/errors.ts'
import { ensureNetwork } from '../../network/cni.ts'
import { pauseImage } from '../pause-image.ts'
import { type Channel, Refusal } from './channel.ts'
import { CRI } from './cri.ts'
import { storeImage } from './import.ts'

/** What matters here of how a daemon is configured, as it says itself. */
export interface DaemonFacts {
  readonly systemdCgroups: boolean
  readonly sandboxImage: string | undefined
  readonly cni: { readonly configuration: string; readonly plugins: string }
}

const NETWORK_LOOK_MS = 20
/** It watches the folder. */
const NETWORK_WAIT_MS = 5000
const PULL_MS = 60_000

/** Makes sure, when the first pod comes, that a daemon as a distribution ships it can run one. */
export class Daemon {
  readonly #channel: Channel
  readonly #clock: Clock
  #network: Promise<void> | undefined
  #sandboxImage: Promise<void> | undefined

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel
    this.#clock = clock
  }

  async facts(signal: AbortSignal): Promise<DaemonFacts> {
    const { info } = await this.#channel.call(CRI.status, { verbose: true }, { signal })
    return daemonFacts(info['config'] ?? '')
  }

  /** A network for pods, by a configuration of ours where there is none. Throws `SLUICE_POD_NETWORK`. */
  network(signal: AbortSignal): Promise<void> {
    this.#network ??= this.#ensureNetwork(signal).catch((error: unknown) => {
      this.#network = undefined
      throw error
    })
    return this.#network
  }

  /** The image that sandboxes are made of: as configured, by the registry, or of our own under its name. */
  sandboxImage(signal: AbortSignal): Promise<void> {
    this.#sandboxImage ??= this.#ensureSandboxImage(signal).catch((error: unknown) => {
      this.#sandboxImage = undefined
      throw error
    })
    return this.#sandboxImage
  }

  async #ensureNetwork(signal: AbortSignal): Promise<void> {
    let why = await this.#networkTrouble(signal)
    if (why === undefined) return
    const { cni } = await this.facts(signal)
    ensureNetwork(cni)
    const untilMs = this.#clock.monotonic() + NETWORK_WAIT_MS
    for (; why !== undefined && this.#clock.monotonic() < untilMs; why = await this.#networkTrouble(signal)) {
      await delay(this.#clock, NETWORK_LOOK_MS, signal)
    }
    if (why === undefined) return
    throw new SluiceError('SLUICE_POD_NETWORK', `containerd has no network for pods: ${why}`, {
      hint: `Look at the configuration in ${cni.configuration}, or give the pod hostNetwork: true.`,
    })
  }

  async #networkTrouble(signal: AbortSignal): Promise<string | undefined> {
    const { status } = await this.#channel.call(CRI.status, {}, { signal })
    const network = status?.conditions.find(({ type }) => type === 'NetworkReady')
    return network === undefined || network.status ? undefined : `${network.reason} ${network.message}`.trim()
  }

  async #ensureSandboxImage(signal: AbortSignal): Promise<void> {
    const { sandboxImage } = await this.facts(signal)
    if (sandboxImage === undefined) return
    const named = { image: { image: sandboxImage } }
    const { image } = await this.#channel.call(CRI.imageStatus, named, { signal })
    if (image !== undefined) return
    const own = pauseImage(sandboxImage)
    if (own !== undefined) {
      await storeImage(this.#channel, own, signal)
      return
    }
    await this.#channel.call(CRI.pullImage, named, { signal, timeoutMs: PULL_MS }).catch((error: unknown) => {
      if (!(error instanceof Refusal)) throw error
      throw new SluiceError('SLUICE_POD_IMAGE_MISSING', `The image of sandboxes, ${sandboxImage}, cannot be fetched`, {
        hint: 'Import it: ctr -n k8s.io images import ARCHIVE; or name one that is there as sandbox_image in config.toml.',
        cause: error,
      })
    })
  }
}

/** Reads what containerd tells of its configuration; what it does not tell is as it ships. */
export function daemonFacts(config: string): DaemonFacts {
  const read = asMap(parse(config))
  const cni = asMap(read['cni'])
  const containerd = asMap(read['containerd'])
  const handler = asMap(asMap(containerd['runtimes'])[textOf(containerd['defaultRuntimeName'])])
  const sandboxImage = textOf(read['sandboxImage'])
  return {
    systemdCgroups: read['systemdCgroup'] === true || asMap(handler['options'])['SystemdCgroup'] === true,
    sandboxImage: sandboxImage === '' ? undefined : sandboxImage,
    cni: {
      configuration: textOf(cni['confDir']) || '/etc/cni/net.d',
      plugins: textOf(cni['binDir']) || '/opt/cni/bin',
    },
  }
}

const asMap = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
