import type { Static } from 'typebox'
import {
  condition,
  flag,
  integer,
  type KubeObject,
  keyedList,
  listOf,
  number,
  object,
  optional,
  text,
  timestamp,
} from './parts.ts'
import { NAME_PATTERN } from './patterns.ts'

const words = (description: string, pattern?: string) =>
  optional(
    listOf(text({ minLength: 1, maxLength: 253, ...(pattern === undefined ? {} : { pattern }) }), {
      minItems: 1,
      maxItems: 32,
      description,
    }),
  )

const match = () =>
  object(
    {
      protocols: words('ble, lora, modbus, mqtt. Default any.'),
      models: words('The best candidate is one of these.', NAME_PATTERN),
      idPrefixes: words('Beginnings of the id, such as the first half of a MAC address or of a DevEUI.'),
      gateways: words('Who saw it. Default any.'),
      minScore: optional(
        number({ minimum: 0, maximum: 1, description: 'How sure the best candidate has to be. Default 0.8.' }),
      ),
    },
    {
      description: 'All that is given has to hold.',
      rules: [
        {
          rule: 'has(self.models) || has(self.idPrefixes)',
          message: 'give models or idPrefixes: whoever is in reach of a radio would become a device',
        },
      ],
    },
  )

export const discoveryPolicySpec = () =>
  object({
    match: match(),
    model: optional(
      text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN, description: 'Default: the best candidate.' }),
    ),
    name: optional(
      text({
        minLength: 1,
        maxLength: 253,
        description:
          'Name of the Device; {id}, {name}, {model}, {protocol} and {gateway} are filled in. Default {model}-{id}.',
      }),
    ),
    maxDevices: optional(
      integer({ minimum: 1, maximum: 1000, description: 'Devices that this policy makes at most. Default 50.' }),
    ),
    suspend: optional(
      flag({ description: "Makes nothing; 'sluice discover policy explain' shows what it would make. Default false." }),
    ),
  })

export const discoveryPolicyStatus = () =>
  object({
    adopted: optional(integer({ minimum: 0, description: 'Devices made.' })),
    lastDevice: optional(text({ maxLength: 317, description: 'The newest, namespace/name.' })),
    lastAdopted: optional(timestamp()),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 8 })),
  })

export type DiscoveryPolicySpec = Static<ReturnType<typeof discoveryPolicySpec>>
type DiscoveryPolicyStatus = Static<ReturnType<typeof discoveryPolicyStatus>>
/** Which discoveries become Devices of this namespace without a person; without any policy none does. */
export type DiscoveryPolicy = KubeObject<DiscoveryPolicySpec, DiscoveryPolicyStatus>
