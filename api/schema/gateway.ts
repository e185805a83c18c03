import type { Static } from 'typebox'
import {
  condition,
  duration,
  integer,
  type KubeObject,
  keyedList,
  number,
  object,
  optional,
  text,
  timestamp,
  word,
} from './parts.ts'

export const gatewaySpec = () =>
  object({
    mode: optional(
      word(['autonomous', 'tethered'], {
        default: 'autonomous',
        description: 'Whether the gateway decides for itself while the link is down.',
      }),
    ),
    heartbeat: optional(duration({ description: 'Link heartbeat. Default 15s.' })),
    description: optional(text()),
  })

export const gatewayStatus = () =>
  object({
    state: optional(word(['online', 'offline', 'unknown', 'neverJoined'])),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 16 })),
    lastSeen: optional(timestamp()),
    connectedSince: optional(timestamp()),
    agentVersion: optional(text({ maxLength: 64 })),
    epoch: optional(text({ maxLength: 64, description: "Identity of the agent's store; changes when it is lost." })),
    certificateExpires: optional(timestamp()),
    devices: optional(
      object({
        total: integer({ minimum: 0 }),
        online: integer({ minimum: 0 }),
        offline: integer({ minimum: 0 }),
      }),
    ),
    outbox: optional(
      object({
        batches: integer({ minimum: 0 }),
        bytes: integer({ minimum: 0 }),
        droppedValues: integer({ minimum: 0 }),
        oldestAt: optional(timestamp()),
      }),
    ),
    link: optional(
      object({
        roundTripMs: optional(number({ minimum: 0 })),
        reconnects: optional(integer({ minimum: 0 })),
        gapsSeen: optional(integer({ minimum: 0 })),
      }),
    ),
    agent: optional(object({ rssBytes: optional(integer({ minimum: 0 })), uptimeS: optional(number({ minimum: 0 })) })),
  })

export type GatewaySpec = Static<ReturnType<typeof gatewaySpec>>
export type GatewayStatus = Static<ReturnType<typeof gatewayStatus>>
export type Gateway = KubeObject<GatewaySpec, GatewayStatus>
