import type { DeviceBinding, PlanExplanation, PlannedRequest } from '../sdk/mapper.ts'
import { compileDevice, type DeviceConfig, MIN_ON_DEMAND_MS } from './device-config.ts'
import { groupPoints } from './gatt-session.ts'
import type { Point } from './point.ts'
import { MAX_LINKS } from './radio.ts'

/**
 * Air time in milliseconds on the 1M PHY: an advertisement of 31 bytes on one channel, an empty packet pair of a
 * connection event, and a read with its answer (Bluetooth Core 5.4, Vol 6 Part B, 2.1 and 4.1.1).
 */
const ADVERT_MS = 0.376
const EVENT_MS = 0.31
const READ_MS = 0.68
/** Connecting, discovering and reading take about this much of the radio in connection events. */
const VISIT_MS = 60
const INTERVAL_MS = 30

export const explainBinding = (binding: DeviceBinding): PlanExplanation =>
  explainPlan(compileDevice(binding), ['nothing measured yet'])

export function explainPlan(config: DeviceConfig, notes: readonly string[]): PlanExplanation {
  const requests = [...advertRequests(config), ...gattRequests(config)]
  const load = requests.reduce((sum, { busMs, everyMs }) => sum + busMs / everyMs, 0)
  const naive = config.gattPoints.reduce((sum, { everyMs }) => sum + VISIT_MS / everyMs, 0)
  return {
    device: config.key,
    link: `${config.radio.id}, ${config.mac}`,
    requests,
    load,
    naiveLoad: Math.max(load, naive),
    notes: [...modeNotes(config), ...notes],
  }
}

function advertRequests(config: DeviceConfig): PlannedRequest[] {
  const sources = new Map<string, Point[]>()
  for (const point of config.advertPoints) {
    const name = sourceName(point)
    sources.set(name, [...(sources.get(name) ?? []), point])
  }
  return [...sources].map(([name, points]) => ({
    request: `listen for ${name}`,
    everyMs: Math.min(...points.map(({ everyMs }) => everyMs)),
    properties: points.map((point) => point.name),
    busMs: ADVERT_MS,
    why: 'advertised: no connection, the least the device can spend',
  }))
}

function sourceName({ source }: Point): string {
  if (source.kind === 'format') return `${source.format} advertisements`
  if (source.kind === 'manufacturer') return `manufacturer data 0x${source.company.toString(16).padStart(4, '0')}`
  if (source.kind === 'serviceData') return `service data ${source.uuid}`
  return source.characteristic
}

function gattRequests(config: DeviceConfig): PlannedRequest[] {
  if (config.mode === 'never') return []
  const stays = config.mode === 'keep'
  return groupPoints(config.gattPoints)
    .filter(({ readable }) => readable)
    .map((group) => {
      const told = stays && group.notify
      return {
        request: `${told ? 'subscribe to' : 'read'} characteristic ${group.uuid}`,
        everyMs: stays ? group.everyMs : Math.max(MIN_ON_DEMAND_MS, group.everyMs),
        properties: group.points.map(({ name }) => name),
        busMs: told ? EVENT_MS : stays ? READ_MS : VISIT_MS,
        why: told
          ? 'told by the device when it changes'
          : stays
            ? 'read over the connection that stays'
            : 'connected for the reading only; one connection serves all',
      }
    })
}

function modeNotes(config: DeviceConfig): string[] {
  if (config.gattPoints.length === 0) return ['no connection is ever made']
  if (config.mode === 'never') return ['the model says connect: never, so characteristics are neither read nor written']
  if (config.mode === 'keep') {
    const share = Math.round((EVENT_MS / INTERVAL_MS) * 1000) / 10
    return [
      `a connection that stays takes one of ${MAX_LINKS} of the radio and keeps both radios on for about ${share} % of the time`,
    ]
  }
  return [`connects for each reading, at most every ${MIN_ON_DEMAND_MS / 1000} s; the device sleeps in between`]
}
