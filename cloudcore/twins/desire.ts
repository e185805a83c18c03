import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { DesireFrame } from '../../api/link/messages.ts'
import type { Device, Json } from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'
import type { KubeClient } from '../kube/client.ts'
import { DEVICES, objectPath } from '../kube/paths.ts'
import type { DeviceRecord } from './device-record.ts'
import type { Fleet } from './fleet.ts'

const MAX_TRIES = 5

interface Taken {
  readonly ok: boolean
  readonly code?: string
  readonly message?: string
}

/** Changes `spec.desired` through the Kubernetes API, so that there is one truth and one way to it. */
export class DesireWriter {
  readonly #client: KubeClient
  readonly #fleet: Fleet
  readonly #clock: Clock
  /** The last offer for a property of a device that is under way. */
  readonly #offers = new Map<string, Promise<Taken>>()

  constructor(options: { readonly client: KubeClient; readonly fleet: Fleet; readonly clock: Clock }) {
    this.#client = options.client
    this.#fleet = options.fleet
    this.#clock = options.clock
  }

  /** Sets a value on somebody's behalf. The fleet knows the new version when this resolves. */
  async set(record: DeviceRecord, property: string, value: Json, manager: string, signal?: AbortSignal): Promise<void> {
    const device = await this.#client.patch<Device>(
      objectPath(DEVICES, record.name, record.namespace),
      'merge',
      { metadata: { uid: record.uid }, spec: { desired: { [property]: value } } },
      { query: { fieldManager: manager.slice(0, 128) }, ...(signal === undefined ? {} : { signal }) },
    )
    this.#fleet.upsertDevice(device, this.#clock.now())
  }

  /**
   * Takes over a value that was set at the gateway, unless somebody else has set a newer one by now. An offer that was
   * taken over before (its answer got lost) is accepted again, and so is one that follows it: a gateway may not know yet
   * that what it offered before is the newest. Offers for one property are taken one after the other, as they came.
   */
  async offer(gateway: string, frame: DesireFrame): Promise<Taken> {
    const key = `${frame.device} ${frame.property}`
    const before = this.#offers.get(key)
    const taking = (async () => {
      await before?.catch(() => {})
      return this.#take(gateway, frame)
    })()
    this.#offers.set(key, taking)
    try {
      return await taking
    } finally {
      if (this.#offers.get(key) === taking) this.#offers.delete(key)
    }
  }

  async #take(gateway: string, frame: DesireFrame): Promise<Taken> {
    const record = this.#fleet.devices.get(frame.device)
    if (record === undefined || record.gateway !== gateway) {
      throw new SluiceError('SLUICE_DESIRE_NOT_OWNED', `device ${frame.device} is not served by gateway '${gateway}'`)
    }
    const held = record.properties.get(frame.property)?.twin
    const version = Math.max(held?.desired?.version ?? 0, held?.removedVersion ?? 0)
    const manager = `sluice-gateway-${gateway}`
    if (version > frame.version) {
      if (sameValue(held?.desired?.value, frame.value)) return { ok: true }
      if (held?.desired?.by !== manager) throw superseded(frame)
    }
    const path = objectPath(DEVICES, record.name, record.namespace)
    let resourceVersion = record.resourceVersion
    for (let attempt = 1; ; attempt++) {
      try {
        const device = await this.#client.patch<Device>(
          path,
          'merge',
          {
            metadata: { uid: record.uid, resourceVersion },
            spec: { desired: { [frame.property]: frame.value } },
          },
          { query: { fieldManager: manager } },
        )
        this.#fleet.upsertDevice(device, this.#clock.now())
        return { ok: true }
      } catch (thrown) {
        const error = toSluiceError(thrown)
        if (error.code !== 'SLUICE_KUBE_CONFLICT' || attempt >= MAX_TRIES) throw refused(error)
        // Any status write moves the resourceVersion; only a change of this desired value is a conflict.
        const fresh = await this.#client.get<Device>(path)
        const now = fresh.spec.desired?.[frame.property]
        if (fresh.metadata.uid !== record.uid || !sameValue(now, held?.desired?.value)) {
          if (sameValue(now, frame.value)) return { ok: true }
          throw superseded(frame)
        }
        resourceVersion = fresh.metadata.resourceVersion ?? resourceVersion
      }
    }
  }
}

const superseded = (frame: DesireFrame) =>
  new SluiceError('SLUICE_DESIRE_SUPERSEDED', `the cloud has a newer desired value of ${frame.property}`)

function refused(error: SluiceError): SluiceError {
  if (error.code === 'SLUICE_KUBE_REFUSED' || error.code === 'SLUICE_KUBE_FORBIDDEN') {
    return new SluiceError('SLUICE_DESIRE_REFUSED', error.message, { cause: error })
  }
  if (error.code === 'SLUICE_KUBE_NOT_FOUND') {
    return new SluiceError('SLUICE_DESIRE_NOT_OWNED', error.message, { cause: error })
  }
  return new SluiceError('SLUICE_DESIRE_UNAVAILABLE', 'the Kubernetes API cannot take the value now; try again', {
    cause: error,
  })
}
