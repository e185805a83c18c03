import type { DeviceView } from '../../api/views.ts'
import type { NodeConfig } from './red.ts'
import type { TwinChange } from './twin-mirror.ts'

/** What makes a `twin in` node send. */
export const TRIGGERS = ['reported', 'desired', 'delta', 'state', 'quality'] as const
export type Trigger = (typeof TRIGGERS)[number]

export interface TwinFilter {
  readonly trigger: Trigger
  /** `namespace/name`; every device when empty. */
  readonly device: string
  /** Name of a model; every model when empty. */
  readonly model: string
  readonly property: string
  /** Smallest change of a number that is worth a message. */
  readonly deadband: number
  /** Whether the state at the start is sent too. */
  readonly initial: boolean
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

/** `meter-3` is `default/meter-3`. */
export const fullKey = (name: string): string => (name === '' || name.includes('/') ? name : `default/${name}`)

export function twinFilter(config: NodeConfig): TwinFilter {
  const trigger = TRIGGERS.find((one) => one === config['trigger']) ?? 'reported'
  const deadband = Number(config['deadband'])
  return {
    trigger,
    device: fullKey(textOf(config['device'])),
    model: textOf(config['model']),
    property: textOf(config['property']),
    deadband: Number.isFinite(deadband) && deadband > 0 ? deadband : 0,
    initial: config['initial'] === true,
  }
}

export function isAbout(filter: Pick<TwinFilter, 'device' | 'model'>, device: DeviceView): boolean {
  if (filter.device !== '' && filter.device !== `${device.namespace}/${device.name}`) return false
  return filter.model === '' || filter.model === device.model
}

/**
 * Decides for one node which changes it sends; remembers per twin what it sent last, for the deadband and so that the
 * same state is not sent twice.
 */
export class TwinGate {
  readonly #filter: TwinFilter
  readonly #sent = new Map<string, unknown>()

  constructor(filter: TwinFilter) {
    this.#filter = filter
  }

  passes(change: TwinChange): boolean {
    const { device, twin, event, initial } = change
    const { trigger, property, deadband } = this.#filter
    if (!isAbout(this.#filter, device) || (property !== '' && property !== twin.name)) return false
    if (initial && !this.#filter.initial) return false
    const id = `${event.device}/${twin.name}`
    switch (trigger) {
      case 'reported':
        if (event.kind !== 'reported' || event.value === null) return false
        return this.#movedEnough(id, event.value, deadband)
      case 'desired':
        return event.kind === 'desired'
      case 'delta':
        return twin.desired !== undefined && this.#isNew(id, [twin.desired.value, twin.value, inSync(change)])
      case 'state':
        return twin.state !== undefined && this.#isNew(id, [twin.state, twin.stateReason, twin.desired?.version])
      case 'quality':
        return twin.quality !== undefined && this.#isNew(id, [twin.quality])
    }
  }

  #movedEnough(id: string, value: unknown, deadband: number): boolean {
    const last = this.#sent.get(id)
    const small = typeof value === 'number' && typeof last === 'number' && Math.abs(value - last) < deadband
    if (small) return false
    this.#sent.set(id, value)
    return true
  }

  #isNew(id: string, state: readonly unknown[]): boolean {
    const text = JSON.stringify(state)
    if (this.#sent.get(id) === text) return false
    this.#sent.set(id, text)
    return true
  }
}

/** Whether the device is as somebody wants it to be. */
export const inSync = ({ twin }: Pick<TwinChange, 'twin'>): boolean => twin.state === 'synced'
