import type { DeviceView, TwinView } from '../../api/views.ts'
import type { Message } from './red.ts'
import { inSync, type Trigger } from './twin-filter.ts'
import type { TwinChange } from './twin-mirror.ts'

/** `meter-3/voltage`, with the namespace in front when it is not `default`. */
export const topicOf = (device: Pick<DeviceView, 'namespace' | 'name'>, property?: string): string => {
  const name = device.namespace === 'default' ? device.name : `${device.namespace}/${device.name}`
  return property === undefined ? name : `${name}/${property}`
}

/** Everything about a twin beside its value, as `msg.twin`. */
export function twinOf(device: DeviceView, twin: TwinView): Record<string, unknown> {
  const { name, ...rest } = twin
  const { namespace, model, gateway } = device
  return {
    device: device.name,
    namespace,
    model,
    ...(gateway === undefined ? {} : { gateway }),
    property: name,
    ...rest,
  }
}

/** The message a change becomes: the value that the trigger is about is its payload. */
export function changeMessage(change: TwinChange, trigger: Trigger): Message {
  const { device, twin, event } = change
  const about: Message = { topic: topicOf(device, twin.name), twin: twinOf(device, twin) }
  const backfill = event.kind === 'reported' && event.backfill === true ? { backfill: true } : {}
  switch (trigger) {
    case 'reported': {
      // The event's own value and time: several may have come since the view was made.
      const own = event.kind === 'reported' ? { value: event.value, at: event.at, quality: event.quality } : {}
      return { ...about, payload: own.value ?? twin.value, twin: { ...twinOf(device, twin), ...own, ...backfill } }
    }
    case 'desired':
      return { ...about, payload: twin.desired?.value ?? null }
    case 'delta':
      return { ...about, payload: twin.desired?.value ?? null, inSync: inSync(change) }
    case 'state':
      return { ...about, payload: twin.state }
    case 'quality':
      return { ...about, payload: twin.quality }
  }
}
