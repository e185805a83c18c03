import type { DeviceApi } from '../../api/client/device-api.ts'
import { type Clock, delay } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { DeviceView, GatewayView } from '../../api/views.ts'
import { count, emptyTally } from './tally.ts'

export interface ObserverOptions {
  readonly api: DeviceApi
  readonly clock: Clock
  /** `clock.monotonic()` when everything began. */
  readonly startedMs: number
  readonly signal: AbortSignal
}

const REFRESH_MS = 300
const RETRY_MS = 500
/** Power and link change slowly: they are looked up with every tenth look at the devices. */
const GATEWAYS_EVERY = 10

/** Watches the cloud core from outside, the way a user's program would: events are counted, devices are looked up. */
export class Observer {
  readonly tally = emptyTally()
  devices: readonly DeviceView[] = []
  gateways: readonly GatewayView[] = []
  /** Milliseconds from the start to the first good value that arrived. */
  firstValueMs: number | undefined
  /** Why nothing is heard at the moment. */
  trouble: string | undefined
  readonly #options: ObserverOptions
  #cursor: string | undefined
  #changed = true
  #lookUps = 0

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  start(): void {
    void this.#repeat(() => this.#follow())
    void this.#repeat(() => this.#lookUp())
  }

  async refresh(signal: AbortSignal): Promise<void> {
    try {
      this.devices = await this.#options.api.devices(signal)
      if (this.#lookUps++ % GATEWAYS_EVERY === 0) this.gateways = await this.#options.api.gateways(signal)
      this.trouble = undefined
    } catch (thrown) {
      this.trouble = toSluiceError(thrown).message
    }
  }

  async #repeat(task: () => Promise<void>): Promise<void> {
    const { signal, clock } = this.#options
    while (!signal.aborted) {
      try {
        await task()
      } catch (thrown) {
        if (!signal.aborted) this.trouble = toSluiceError(thrown).message
      }
      await delay(clock, RETRY_MS, signal).catch(() => {})
    }
  }

  /** A broken stream is resumed after the last event seen, so nothing is counted twice or missed. */
  async #follow(): Promise<void> {
    const { api, signal, clock, startedMs } = this.#options
    for await (const { id, events } of api.events({}, signal, this.#cursor)) {
      this.#cursor = id ?? this.#cursor
      this.#changed = true
      count(this.tally, events)
      if (this.firstValueMs === undefined && this.tally.good > 0) this.firstValueMs = clock.monotonic() - startedMs
    }
  }

  async #lookUp(): Promise<void> {
    const { signal, clock } = this.#options
    let idle = 0
    while (!signal.aborted) {
      // Ages and states move on without an event too, only more slowly.
      if (this.#changed || ++idle >= 5) {
        this.#changed = false
        idle = 0
        await this.refresh(signal)
      }
      await delay(clock, REFRESH_MS, signal)
    }
  }
}
