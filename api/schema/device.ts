import { type Static, Type } from 'typebox'
import { addressBindings, pollPolicy, reportPolicy } from './device-model.ts'
import {
  anyObject,
  anyValue,
  condition,
  duration,
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
import type { ProtocolSchema } from './protocol.ts'

/**
 * State of a desired value.
 * `pending` accepted, not yet on the wire or not yet confirmed; `applied` written and read back; `synced` the latest
 * reading equals the desired value; `rejected` refused by limits, by the device or because a newer version exists;
 * `timedOut` the write policy's deadline passed; `stale` nothing can be said, the source is silent.
 */
export const WRITE_STATES = ['synced', 'pending', 'applied', 'rejected', 'timedOut', 'stale'] as const

const specFrame = {
  model: text({ minLength: 1, maxLength: 253, description: 'Name of a DeviceModel in the same namespace.' }),
  nodeName: optional(text({ minLength: 1, maxLength: 253, description: 'The gateway that serves this device.' })),
  nodeSelector: optional(
    mapOf(text({ maxLength: 63 }), { maxProperties: 16, description: 'Labels of the gateways it may roam between.' }),
  ),
  roaming: optional(
    object(
      {
        marginDb: optional(
          number({
            minimum: 0,
            maximum: 40,
            description: 'How much better another gateway has to hear it. Default 6.',
          }),
        ),
        hold: optional(duration({ description: 'For how long it has to, before it takes over. Default 3s.' })),
        lostAfter: optional(
          duration({ description: 'A gateway that did not hear it for so long has lost it. Default 10s.' }),
        ),
      },
      { description: 'When a device with nodeSelector changes from one gateway to another.' },
    ),
  ),
  paused: optional(flag({ description: 'Leave the device alone; the twin keeps its last values.' })),
  importance: optional(
    word(['critical', 'normal', 'deferrable'], {
      description:
        'What the policy of a gateway may do: nothing, stretch its periods, or leave it alone. Default normal.',
    }),
  ),
  poll: optional(pollPolicy()),
  report: optional(reportPolicy()),
  desired: optional(mapOf(anyValue(), { maxProperties: 1024, description: 'Desired value by property name.' })),
  custom: optional(anyObject({ description: 'Address for a protocol that Sluice does not know.' })),
}

/** Schema of `Device.spec` with the given protocols' addresses. */
export const deviceSpec = (protocols: readonly ProtocolSchema[]) => {
  const addresses = [...protocols.map((protocol) => protocol.name), 'custom']
  const count = addresses.map((name) => `(has(self.${name}) ? 1 : 0)`).join(' + ')
  return Type.Object(
    { ...specFrame, ...addressBindings(protocols) },
    {
      additionalProperties: false,
      'x-kubernetes-validations': [
        { rule: `${count} == 1`, message: `exactly one address is needed: ${addresses.join(', ')}` },
        { rule: '!(has(self.nodeName) && has(self.nodeSelector))', message: 'give nodeName or nodeSelector, not both' },
      ],
    },
  )
}

const twinSchema = () =>
  object({
    name: text({ maxLength: 63 }),
    desired: optional(
      object({
        value: optional(anyValue()),
        version: integer({ minimum: 0 }),
        at: timestamp(),
        by: optional(text({ maxLength: 128 })),
      }),
    ),
    reported: optional(
      object({
        value: optional(anyValue()),
        unit: optional(text({ maxLength: 32 })),
        at: timestamp({ description: "The source's time." }),
        receivedAt: timestamp({ description: 'When the cloud core received it.' }),
        quality: text({ maxLength: 64, description: 'good, uncertain, stale or bad(code).' }),
        reason: optional(text({ maxLength: 1024 })),
        backfill: optional(flag()),
      }),
    ),
    state: optional(word(WRITE_STATES)),
    stateVersion: optional(integer({ minimum: 0, description: 'The desired version that state speaks of.' })),
    stateAt: optional(timestamp()),
    reason: optional(text({ maxLength: 1024, description: 'Why, in words a person can act on.' })),
  })

export const deviceStatus = () =>
  object({
    observedGeneration: optional(integer({ minimum: 0 })),
    state: optional(word(['online', 'offline', 'unknown', 'paused', 'invalid'])),
    gateway: optional(text({ maxLength: 253 })),
    roaming: optional(
      object({
        term: integer({ minimum: 0, description: 'Grows whenever another gateway takes over.' }),
        standby: optional(listOf(text({ maxLength: 253 }), { maxItems: 64, description: 'Gateways that stand by.' })),
      }),
    ),
    lastSeen: optional(timestamp()),
    staleSince: optional(timestamp()),
    summary: optional(text({ maxLength: 256, description: 'The first readings in one line, for kubectl get.' })),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 16 })),
    twins: optional(keyedList(twinSchema(), 'name', { maxItems: 1024 })),
    link: optional(
      object({
        errorRate: optional(number({ minimum: 0, maximum: 1 })),
        latencyMs: optional(number({ minimum: 0 })),
        rssiDbm: optional(number({ description: 'Received signal strength, smoothed.' })),
        snrDb: optional(number()),
        spreadingFactor: optional(integer({ minimum: 5, maximum: 12, description: 'LoRa, of the last uplink.' })),
        marginDb: optional(number({ description: 'How much weaker the signal could be and still be understood.' })),
        gateways: optional(
          keyedList(
            object({
              id: text({
                minLength: 1,
                maxLength: 64,
                description: 'EUI of a LoRaWAN gateway, or its name in its network.',
              }),
              rssiDbm: optional(number()),
              snrDb: optional(number()),
            }),
            'id',
            { maxItems: 8, description: 'Who heard the last uplink, best first.' },
          ),
        ),
        quality: optional(number({ description: 'What a property with role linkQuality says, in its own unit.' })),
        unusable: optional(
          integer({ minimum: 0, description: 'Frames and answers that could not be used; Events say what was wrong.' }),
        ),
      }),
    ),
    battery: optional(object({ percent: optional(number({ minimum: 0, maximum: 100 })), at: optional(timestamp()) })),
  })

const specFrameObject = object(specFrame)

export type WriteState = (typeof WRITE_STATES)[number]
export type DeviceTwin = Static<ReturnType<typeof twinSchema>>
export type DeviceSpec = Static<typeof specFrameObject> & { readonly [protocol: string]: unknown }
export type DeviceStatus = Static<ReturnType<typeof deviceStatus>>
export type Device = KubeObject<DeviceSpec, DeviceStatus>
