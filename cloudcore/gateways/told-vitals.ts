import { Compile } from 'typebox/compile'
import type { GatewayStatus, Json } from '../../api/resources.ts'
import { gatewayStatus } from '../../api/schema/gateway.ts'
import { vitalSummary } from '../../api/vital-words.ts'

/** Parts of the status that a gateway tells of its power, its heat and its networks. */
const VITALS = ['power', 'energy', 'battery', 'thermal', 'networks', 'policy'] as const

export type Vitals = Pick<GatewayStatus, (typeof VITALS)[number] | 'link' | 'summary'>

/**
 * What a gateway told of its vitals, without the parts that an API server would refuse: one lying or newer agent must
 * not keep the rest of its own status from being written.
 */
export function soundVitals(told: GatewayStatus): Vitals {
  const sound: Vitals = {}
  for (const part of [...VITALS, 'link'] as const) {
    const value = told[part]
    if (value !== undefined && isSound(part, value)) Object.assign(sound, { [part]: value })
  }
  const summary = vitalSummary(sound)
  return summary === undefined ? sound : { ...sound, summary }
}

const { properties } = gatewayStatus()
const CHECKS = {
  power: Compile(properties.power),
  energy: Compile(properties.energy),
  battery: Compile(properties.battery),
  thermal: Compile(properties.thermal),
  networks: Compile(properties.networks),
  policy: Compile(properties.policy),
  link: Compile(properties.link),
}

const isSound = (part: keyof typeof CHECKS, value: unknown): boolean =>
  CHECKS[part].Check(value) &&
  !namesTwice(value) &&
  !(part === 'thermal' && namesTwice((value as { zones?: unknown }).zones))

/** A list that Kubernetes keys by name takes each name once. */
const namesTwice = (list: unknown): boolean =>
  Array.isArray(list) && new Set(list.map((item: { name?: unknown }) => item.name)).size < list.length

/** Of a status: its parts, and of those that are objects their fields; what a later patch has to take away. */
export type StatusKeys = Readonly<Record<string, readonly string[]>>

export function keysOf(status: GatewayStatus): StatusKeys {
  return Object.fromEntries(Object.entries(status).map(([part, value]) => [part, fieldsOf(value)]))
}

/**
 * The status as a merge patch that leaves nothing behind: a part or a field that was there before and is not any more
 * is set to null, which takes it away.
 */
export function patchOf(status: GatewayStatus, before: StatusKeys): { readonly [part: string]: Json } {
  const patch: Record<string, Json> = { ...(status as { readonly [part: string]: Json }) }
  for (const [part, fields] of Object.entries(before)) {
    const now = patch[part]
    if (now === undefined) {
      patch[part] = null
      continue
    }
    const present = fieldsOf(now)
    const gone = fields.filter((field) => !present.includes(field))
    if (gone.length > 0) patch[part] = { ...(now as object), ...Object.fromEntries(gone.map((field) => [field, null])) }
  }
  return patch
}

const fieldsOf = (value: unknown): readonly string[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : []

/** What is compared to see whether a status is worth a patch before its refresh: not the figures that always move. */
export function steadyPart(status: GatewayStatus): Json {
  const { lastSeen: _, agent: __, link, energy, power, battery, thermal, policy, summary, ...steady } = status
  const without = (part: object | undefined, ...fields: readonly string[]): Json =>
    Object.fromEntries(Object.entries(part ?? {}).filter(([field]) => !fields.includes(field)))
  const seldom = ['gapsSeen', 'reconnects', 'quality', 'trend'] as const
  return [
    steady as { readonly [part: string]: Json },
    seldom.map((field) => link?.[field] ?? null),
    energy?.source ?? null,
    without(power, 'at', 'errorPercent'),
    without(battery, 'at', 'errorPercent', 'watts', 'volts', 'energyJ', 'timeToEmpty', 'timeToFull'),
    without(thermal, 'at', 'zones'),
    without(policy),
  ]
}
