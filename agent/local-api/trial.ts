import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import type { TrialView } from '../../api/console/insight.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, Json, ModelProperty, ObjectKey } from '../../api/resources.ts'
import type { DeviceBinding, Protocol, Reading } from '../../mappers/sdk/mapper.ts'
import { objectChecker } from '../desired/check-object.ts'
import { protocolOf } from '../mappers/host.ts'

export interface TrialHost {
  binding(key: ObjectKey): DeviceBinding | undefined
  tryOut(binding: DeviceBinding): Disposable
  onReadings(listener: (batch: readonly Reading[]) => void): () => void
}

/** For how long values are waited for. */
const WITHIN_MS = 8_000
/** Everything is read at once, whatever the model says: somebody is waiting. */
const TRIAL_POLL = '2s'

/** Reads a device as a model that is not in force would have it read, beside the one that is. Nothing is written anywhere. */
export class Trials {
  readonly #host: TrialHost
  readonly #clock: Clock
  readonly #protocols: readonly Protocol[]
  #running = false

  constructor(host: TrialHost, clock: Clock, protocols: readonly Protocol[]) {
    this.#host = host
    this.#clock = clock
    this.#protocols = protocols
  }

  /** Throws SLUICE_TWIN_DEVICE_UNKNOWN, SLUICE_TRIAL_REFUSED, or what is wrong with the model. */
  async run(key: ObjectKey, spec: Json): Promise<TrialView> {
    const served = this.#host.binding(key)
    if (served === undefined) {
      throw new SluiceError('SLUICE_TWIN_DEVICE_UNKNOWN', `Device ${key} is not served by this gateway`)
    }
    const protocol = protocolOf(this.#protocols, served.device)
    if (protocol?.tries !== true) {
      throw new SluiceError(
        'SLUICE_TRIAL_REFUSED',
        `No second model can be tried on a device of ${protocol?.name ?? 'its kind'}`,
        {
          hint: 'Only protocols in which the gateway asks can read one address with two models at a time.',
        },
      )
    }
    if (this.#running) {
      throw new SluiceError('SLUICE_TRIAL_REFUSED', 'Another trial is running at this gateway', {
        hint: 'Wait for it.',
      })
    }
    const model = await this.#checked(spec)
    this.#running = true
    try {
      return await this.#read(key, served, model)
    } finally {
      this.#running = false
    }
  }

  async #checked(given: Json): Promise<DeviceModelSpec> {
    const unchecked: unknown = given
    const spec = unchecked as DeviceModelSpec
    const object = { uid: 'trial', generation: 1, spec }
    const finding = await objectChecker(this.#protocols)({
      kind: 'DeviceModel',
      key: 'default/trial',
      rev: '1',
      object,
    })
    if (finding === undefined) return spec
    throw new SluiceError(finding.code, finding.message, { hint: finding.hint })
  }

  #read(key: ObjectKey, { device }: DeviceBinding, model: DeviceModelSpec): Promise<TrialView> {
    const startedMs = this.#clock.monotonic()
    const trial: ObjectKey = `${key}~${randomBytes(4).toString('hex')}`
    const properties = model.properties.map(({ poll: _, ...property }): ModelProperty => property)
    const wanted = new Set(properties.filter(({ access }) => access !== 'write').map(({ name }) => name))
    const found = new Map<string, Reading>()
    const { desired: _, report: __, ...address } = device
    const binding: DeviceBinding = {
      ...{ key: trial, device: { ...address, poll: { every: TRIAL_POLL } }, model: { ...model, properties } },
      revision: createHash('sha256').update(trial).digest('hex'),
    }
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel()
        unlisten()
        served[Symbol.dispose]()
        const values = properties.map(({ name, unit }) => {
          const { value, quality, reason } = found.get(name) ?? {}
          return {
            ...{ name, ...(unit === undefined ? {} : { unit }), ...(value === undefined ? {} : { value }) },
            ...(quality === undefined ? {} : { quality }),
            ...(reason === undefined ? {} : { reason }),
          }
        })
        resolve({ device: key, values, tookMs: Math.round(this.#clock.monotonic() - startedMs) })
      }
      const unlisten = this.#host.onReadings((batch) => {
        for (const reading of batch) if (reading.device === trial) found.set(reading.property, reading)
        if ([...wanted].every((name) => found.has(name))) end()
      })
      const timer = this.#clock.after(WITHIN_MS, end)
      const served = this.#host.tryOut(binding)
    })
  }
}
