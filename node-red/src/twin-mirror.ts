import type { Json, ObjectKey, WriteState } from '../../api/resources.ts'
import { matchesDesired, sameValue } from '../../api/twin/twin.ts'
import type { DeviceEvent, DeviceView, ModelView, NoteEvent, TwinView } from '../../api/views.ts'

/** An event that is about one twin. */
export type TwinEvent = Extract<DeviceEvent, { kind: 'reported' | 'write' }> | Extract<NoteEvent, { kind: 'desired' }>

export interface TwinChange {
  readonly event: TwinEvent
  readonly device: DeviceView
  readonly twin: TwinView
  /** How the twin was before; absent the first time it is heard of. */
  readonly before: TwinView | undefined
  /** It was so already when this program started. */
  readonly initial: boolean
}

interface Mirrored {
  readonly view: DeviceView & { readonly twins: TwinView[] }
  readonly places: Map<string, number>
}

/** The twins as the other side has them, kept up to date by its events. */
export class TwinMirror {
  readonly devices = new Map<ObjectKey, DeviceView>()
  readonly models = new Map<ObjectKey, ModelView>()
  readonly #mirrored = new Map<ObjectKey, Mirrored>()
  #filled = false

  setModels(models: readonly ModelView[]): void {
    this.models.clear()
    for (const model of models) this.models.set(`${model.namespace}/${model.name}`, model)
  }

  /** Takes the whole state; returns what is different from before, values first, in order of their time. */
  replace(devices: readonly DeviceView[]): TwinChange[] {
    const changes: TwinChange[] = []
    const gone = new Set(this.devices.keys())
    for (const given of devices) {
      const key = `${given.namespace}/${given.name}`
      gone.delete(key)
      const before = this.#mirrored.get(key)
      const view = { ...given, twins: [...given.twins] }
      this.#mirrored.set(key, { view, places: new Map(view.twins.map(({ name }, place) => [name, place])) })
      this.devices.set(key, view)
      for (const twin of view.twins) {
        const was = before?.view.twins[before.places.get(twin.name) ?? -1]
        for (const event of differences(key, was, twin)) {
          changes.push({ event, device: view, twin, before: was, initial: !this.#filled })
        }
      }
    }
    for (const key of gone) {
      this.devices.delete(key)
      this.#mirrored.delete(key)
    }
    this.#filled = true
    return changes.sort((a, b) => (a.event.at < b.event.at ? -1 : a.event.at > b.event.at ? 1 : 0))
  }

  /** How every twin is right now, as if it had just come. */
  *current(): Generator<TwinChange> {
    for (const [key, { view }] of this.#mirrored) {
      for (const twin of view.twins) {
        for (const event of differences(key, undefined, twin)) {
          yield { event, device: view, twin, before: undefined, initial: true }
        }
      }
    }
  }

  /** Applies one event; undefined when it is about no twin or about a device that is not known yet. */
  apply(event: DeviceEvent | TwinEvent): TwinChange | undefined {
    const mirrored = this.#mirrored.get(event.device)
    if (mirrored === undefined) return undefined
    if (event.kind === 'reach') {
      this.#reached(mirrored, event)
      return undefined
    }
    const { view, places } = mirrored
    const place = places.get(event.property) ?? view.twins.length
    const before = view.twins[place]
    const twin = this.#after(event, before ?? { name: event.property, access: 'read' }, view)
    places.set(event.property, place)
    view.twins[place] = twin
    return { event, device: view, twin, before, initial: false }
  }

  #reached(mirrored: Mirrored, event: Extract<DeviceEvent, { kind: 'reach' }>): void {
    const { kind: _, device, online, at, ...rest } = event
    const { reason: __, ...view } = mirrored.view
    const next = { ...view, ...rest, state: online ? ('online' as const) : ('offline' as const) }
    this.#mirrored.set(device, { view: online ? { ...next, lastSeen: at } : next, places: mirrored.places })
    this.devices.set(device, this.#mirrored.get(device)!.view)
  }

  #after(event: TwinEvent, twin: TwinView, device: DeviceView): TwinView {
    if (event.kind === 'reported') {
      const { reason: _, ...kept } = twin
      const { value, at, quality, reason } = event
      // A failed reading has no value: the last known one stays, with its time.
      const seen = value === null && quality !== 'good' ? { quality } : { value, at, quality }
      const next = { ...kept, ...seen, ...(reason === undefined ? {} : { reason }) }
      return this.#settled(next, device)
    }
    const { stateReason: _, state: __, desired, ...rest } = twin
    if (event.kind === 'desired') {
      const { value, version, at, by } = event
      if (value === undefined) return rest
      return { ...rest, desired: { value, version, at, ...(by === undefined ? {} : { by }) }, state: 'pending' }
    }
    // The end of an older version says nothing about the one that is desired now.
    if (desired !== undefined && event.version < desired.version) return twin
    const why = event.reason === undefined ? {} : { stateReason: event.reason }
    const next = { ...rest, ...(desired === undefined ? {} : { desired }), state: event.state, ...why }
    return this.#settled(next, device)
  }

  /** Once written, a desired value is `synced` while the reading equals it. */
  #settled(twin: TwinView, device: DeviceView): TwinView {
    const { state, desired, value } = twin
    if ((state !== 'applied' && state !== 'synced') || desired === undefined || value === undefined) return twin
    const model = this.models.get(`${device.namespace}/${device.model}`)
    const property = model?.spec.properties.find(({ name }) => name === twin.name)
    const equal = matchesDesired(desired.value, value, property?.write?.tolerance ?? 0)
    const settled: WriteState = equal ? 'synced' : 'applied'
    return settled === state ? twin : { ...twin, state: settled }
  }
}

/** The events that lead from one view of a twin to another. */
function* differences(device: ObjectKey, before: TwinView | undefined, twin: TwinView): Generator<TwinEvent> {
  const { name: property, desired, at, quality, reason, state, stateReason } = twin
  const valued = before?.at !== at || before?.quality !== quality || !sameValue(before?.value, twin.value)
  if (at !== undefined && valued) {
    const why = reason === undefined ? {} : { reason }
    yield {
      kind: 'reported',
      device,
      property,
      value: twin.value ?? (null as Json),
      at,
      quality: quality ?? 'good',
      ...why,
    }
  }
  if (desired?.version !== before?.desired?.version || !sameValue(desired?.value, before?.desired?.value)) {
    const version = desired?.version ?? before?.desired?.version ?? 0
    const when = desired?.at ?? at ?? ''
    yield {
      kind: 'desired',
      device,
      property,
      version,
      at: when,
      ...(desired === undefined ? {} : { value: desired.value }),
    }
  }
  if (
    desired !== undefined &&
    state !== before?.state &&
    (state === 'applied' || state === 'rejected' || state === 'timedOut')
  ) {
    const why = stateReason === undefined ? {} : { reason: stateReason }
    yield { kind: 'write', device, property, version: desired.version, state, at: desired.at, ...why }
  }
}
