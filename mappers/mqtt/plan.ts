import type { Availability, DeviceConfig } from './device-config.ts'
import type { Point } from './point.ts'

/** One subscription of a device and what is read from its messages. */
export interface Route {
  readonly filter: string
  readonly points: readonly Point[]
  readonly availability: readonly Availability[]
}

/** Which subscriptions serve which properties: one a topic, however many properties its payload carries. */
export function planRoutes(config: Pick<DeviceConfig, 'points' | 'availability'>): Route[] {
  const routes = new Map<string, { filter: string; points: Point[]; availability: Availability[] }>()
  const routeOf = (filter: string) => {
    let route = routes.get(filter)
    if (route === undefined) routes.set(filter, (route = { filter, points: [], availability: [] }))
    return route
  }
  for (const point of config.points) if (point.topic !== undefined) routeOf(point.topic).points.push(point)
  for (const rule of config.availability) routeOf(rule.topic).availability.push(rule)
  return [...routes.values()]
}

/** The filters that bring everything of a Sparkplug node and the device behind it. */
export function sparkplugFilters({ group, node, device }: NonNullable<DeviceConfig['sparkplug']>): string[] {
  const own = `spBv1.0/${group}/+/${node}`
  return device === undefined ? [own] : [own, `${own}/${device}`]
}
