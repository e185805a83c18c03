import type { DeviceApi } from '../../api/client/device-api.ts'
import { type Clock, delay } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { formatValue } from '../values.ts'
import type { Observer } from './observer.ts'
import type { Progress } from './progress.ts'

export interface DemoWritesOptions {
  readonly api: DeviceApi
  readonly clock: Clock
  readonly observer: Observer
  readonly say: Progress
  readonly signal: AbortSignal
}

const DRIVE = 'default/drive-1'
const PAUSE_MS = 2_500
const WAIT_MS = 8_000

/** What somebody at the console might do with the drive, over and over. */
const SCRIPT: readonly (readonly [string, Json])[] = [
  ['ramp', 2],
  ['speed', 1500],
  ['speed', 2400],
  ['speed', 600],
  ['speed', 1200],
]

/** Where nobody sits in front of the demo, it writes a few values itself, through the same API a person would use. */
export class DemoWrites {
  readonly #options: DemoWritesOptions

  constructor(options: DemoWritesOptions) {
    this.#options = options
  }

  start(): void {
    void this.#run().catch(() => {})
  }

  async #run(): Promise<void> {
    const { api, clock, observer, say, signal } = this.#options
    while (!isOnline(observer)) await delay(clock, 100, signal)
    for (let turn = 0; !signal.aborted; turn++) {
      const [property, value] = SCRIPT[turn % SCRIPT.length]!
      try {
        const answer = await api.setDesired(DRIVE, property, value, { by: 'demo', waitMs: WAIT_MS, signal })
        const why = answer.reason === undefined ? '' : `: ${answer.reason}`
        say.step(`wrote ${DRIVE} ${property} = ${formatValue(value)}: ${answer.state}${why}`)
      } catch (thrown) {
        if (!signal.aborted) say.warn(`writing ${DRIVE} ${property}: ${toSluiceError(thrown).message}`)
      }
      await delay(clock, PAUSE_MS, signal)
    }
  }
}

const isOnline = (observer: Observer): boolean =>
  observer.devices.some(({ namespace, name, state }) => `${namespace}/${name}` === DRIVE && state === 'online')
