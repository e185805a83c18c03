import type { DeviceBinding, PlanExplanation, PlannedRequest } from '../sdk/mapper.ts'
import { compileDevice, type DeviceConfig } from './device-config.ts'
import { planRoutes, sparkplugFilters } from './plan.ts'

/** The plan as it is made without a connection: what is subscribed to, and what for. */
export function explainBinding(binding: DeviceBinding): PlanExplanation {
  return explainConfig(compileDevice(binding))
}

export function explainConfig(config: DeviceConfig): PlanExplanation {
  const subscriptions = planRoutes(config).map(
    ({ filter, points, availability }): PlannedRequest => ({
      request: `SUBSCRIBE ${filter} (QoS ${config.qos})`,
      everyMs: 0,
      properties: points.map(({ name }) => name),
      busMs: 0,
      why: [
        ...(points.length > 0
          ? [points.length === 1 ? 'one property' : `${points.length} properties in one payload`]
          : []),
        ...(availability.length > 0 ? ['availability'] : []),
      ].join(', '),
    }),
  )
  const metrics = config.points.filter(({ metric }) => metric !== undefined)
  const sparkplug = (config.sparkplug === undefined ? [] : sparkplugFilters(config.sparkplug)).map(
    (filter, index, all): PlannedRequest => ({
      request: `SUBSCRIBE ${filter} (QoS 1)`,
      everyMs: 0,
      properties: index === all.length - 1 ? metrics.map(({ name }) => name) : [],
      busMs: 0,
      why: index === all.length - 1 ? `${metrics.length} Sparkplug metrics` : 'birth and death of the edge node',
    }),
  )
  const requests = config.requests.map(
    ({ topic, everyMs }): PlannedRequest => ({
      request: `PUBLISH ${topic}`,
      everyMs: everyMs ?? 0,
      properties: [],
      busMs: 0,
      why: everyMs === undefined ? 'asks for the values at every new connection' : 'asks for the values',
    }),
  )
  return {
    device: config.key,
    link: config.broker.local ? "the gateway's own broker" : config.broker.name,
    requests: [...subscriptions, ...sparkplug, ...requests],
    load: 0,
    naiveLoad: 0,
    notes: [
      'devices speak when they want; nothing is asked for',
      ...config.points
        .filter(({ command }) => command !== undefined)
        .map(({ name, command }) => `${name} is written to ${command!.topic}, ${confirmation(command!.confirm)}`),
    ],
  }
}

function confirmation(confirm: NonNullable<DeviceConfig['points'][number]['command']>['confirm']): string {
  if (confirm === 'none') return 'applied when the broker has it'
  return confirm === 'state' ? 'applied when the property reports it' : `applied when ${confirm.topic} says so`
}
