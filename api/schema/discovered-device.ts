import type { Static } from 'typebox'
import {
  anyObject,
  condition,
  flag,
  integer,
  type KubeObject,
  keyedList,
  listOf,
  mapOf,
  number,
  object,
  optional,
  text,
  timestamp,
  word,
} from './parts.ts'
import { LABEL_PATTERN, NAME_PATTERN } from './patterns.ts'

const candidate = () =>
  object({
    model: text({ maxLength: 253 }),
    score: number({ minimum: 0, maximum: 1, description: '1 is certain.' }),
    why: text({ maxLength: 256 }),
  })

const approval = () =>
  object(
    {
      name: text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN, description: 'Name of the Device.' }),
      model: text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN }),
      namespace: optional(
        text({ minLength: 1, maxLength: 63, pattern: LABEL_PATTERN, description: "Default: this object's own." }),
      ),
      by: optional(
        text({ maxLength: 330, description: 'policy NAMESPACE/NAME, where a DiscoveryPolicy decided and no person.' }),
      ),
    },
    { description: 'Set by a person, or by a DiscoveryPolicy: makes the Device, reached by the gateway that saw it.' },
  )

export const discoveredDeviceSpec = () =>
  object({
    protocol: text({ minLength: 1, maxLength: 63 }),
    id: text({ minLength: 1, maxLength: 256, description: 'Stable within the protocol and the gateway.' }),
    gateway: text({ minLength: 1, maxLength: 253, description: 'Who saw it.' }),
    address: anyObject({ description: 'What stands under the protocol in the Device that reaches it.' }),
    name: optional(text({ maxLength: 256, description: 'What the device calls itself.' })),
    candidates: optional(listOf(candidate(), { maxItems: 8, description: 'Models it resembles, best first.' })),
    facts: optional(mapOf(text({ maxLength: 512 }), { maxProperties: 32, description: 'Vendor, firmware and such.' })),
    approve: optional(approval()),
    ignore: optional(flag({ description: 'Set by a person: known, and not wanted.' })),
  })

export const discoveredDeviceStatus = () =>
  object({
    state: optional(word(['new', 'approved', 'ignored', 'gone'], { description: 'gone: nobody saw it for a day.' })),
    resembles: optional(text({ maxLength: 253, description: 'The first of the candidates, for a table.' })),
    lastSeen: optional(timestamp()),
    rssiDbm: optional(number()),
    sightings: optional(integer({ minimum: 0, description: 'How often it was seen.' })),
    device: optional(text({ maxLength: 317, description: 'The Device that was made, namespace/name.' })),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 8 })),
  })

export type DiscoveredDeviceSpec = Static<ReturnType<typeof discoveredDeviceSpec>>
export type DiscoveredDeviceStatus = Static<ReturnType<typeof discoveredDeviceStatus>>
/** A device that a gateway saw and nobody configured. */
export type DiscoveredDevice = KubeObject<DiscoveredDeviceSpec, DiscoveredDeviceStatus>
