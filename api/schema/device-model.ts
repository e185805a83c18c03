import { type Static, type TSchema, Type } from 'typebox'
import {
  anyObject,
  anyValue,
  duration,
  type Json,
  type KubeObject,
  keyedList,
  listOf,
  number,
  object,
  optional,
  text,
  word,
} from './parts.ts'
import { PROPERTY_NAME_PATTERN } from './patterns.ts'
import type { ProtocolSchema } from './protocol.ts'

export const PROPERTY_TYPES = ['int', 'float', 'bool', 'string', 'bytes', 'object', 'array'] as const
export const PROPERTY_ROLES = ['battery', 'rssi', 'snr', 'linkQuality', 'temperature', 'power', 'energy'] as const

/** How a reading becomes a report: what is too small to matter, and how often to report although nothing changed. */
export const reportPolicy = () =>
  object(
    {
      deadband: optional(number({ minimum: 0, description: 'Absolute change below which a reading is not reported.' })),
      deadbandPercent: optional(
        number({ minimum: 0, maximum: 100, description: 'Same, in per cent of the last reported value.' }),
      ),
      heartbeat: optional(duration({ description: 'Report at least this often. Default 10m.' })),
      minInterval: optional(duration({ description: 'Report at most this often; the newest reading wins.' })),
    },
    { description: 'When a reading is worth reporting.' },
  )

export const pollPolicy = () =>
  object(
    {
      every: optional(duration({ description: 'Read this often. Default 1s.' })),
      staleAfter: optional(
        duration({
          description:
            'Reading older than this is stale. Default three poll periods, at least 5s; learnt of what reports by itself.',
        }),
      ),
    },
    { description: 'How often to read.' },
  )

export const writePolicy = () =>
  object(
    {
      deadline: optional(
        duration({ description: 'A desired value that could not be applied by then ends as timedOut. Default 30s.' }),
      ),
      tolerance: optional(
        number({ minimum: 0, description: 'Read-back may differ from the written value by this much.' }),
      ),
      readBack: optional(word(['always', 'never'], { description: 'never for write-only registers. Default always.' })),
    },
    { description: 'How a desired value is applied.' },
  )

const bindings = (protocols: readonly ProtocolSchema[], part: 'property' | 'address' | 'model') => {
  const out: Record<string, TSchema> = {}
  for (const protocol of protocols) {
    const schema = protocol[part]
    if (schema !== undefined) out[protocol.name] = Type.Optional(schema)
  }
  return out
}

const propertyFrame = {
  name: text({ pattern: PROPERTY_NAME_PATTERN, maxLength: 63 }),
  description: optional(text()),
  type: word(PROPERTY_TYPES),
  unit: optional(text({ maxLength: 32, description: 'Unit of the value, SI where there is one: V, W, kWh, degC.' })),
  access: optional(word(['read', 'readwrite', 'write'], { default: 'read' })),
  min: optional(number()),
  max: optional(number()),
  enum: optional(listOf(anyValue(), { minItems: 1 })),
  precision: optional(number({ minimum: 0, description: 'Readings are rounded to a multiple of this step.' })),
  role: optional(word(PROPERTY_ROLES, { description: 'What the value means to the twin: its battery, its link.' })),
  poll: optional(pollPolicy()),
  report: optional(reportPolicy()),
  write: optional(writePolicy()),
  custom: optional(anyObject({ description: 'Binding of a protocol that Sluice does not know.' })),
}

const modelFrame = {
  vendor: optional(text()),
  description: optional(text()),
  source: optional(text({ description: 'Where the register map or format is published.' })),
}

const methodSchema = () =>
  object({
    name: text({ pattern: PROPERTY_NAME_PATTERN, maxLength: 63 }),
    description: optional(text()),
    properties: listOf(text({ maxLength: 63 }), { minItems: 1, maxItems: 64 }),
  })

/** Schema of `DeviceModel.spec` with the given protocols' bindings. */
export const deviceModelSpec = (protocols: readonly ProtocolSchema[]) =>
  Type.Object(
    {
      ...modelFrame,
      properties: keyedList(
        Type.Object(
          { ...propertyFrame, ...bindings(protocols, 'property') },
          {
            additionalProperties: false,
            'x-kubernetes-validations': [
              { rule: '!has(self.min) || !has(self.max) || self.min <= self.max', message: 'min must not exceed max' },
            ],
          },
        ),
        'name',
        { maxItems: 1024 },
      ),
      methods: optional(keyedList(methodSchema(), 'name', { maxItems: 64 })),
      ...bindings(protocols, 'model'),
    },
    { additionalProperties: false },
  )

/** Schema of the protocols' address keys of `Device.spec`. */
export const addressBindings = (protocols: readonly ProtocolSchema[]) => bindings(protocols, 'address')

const propertyFrameObject = object(propertyFrame)
const modelFrameObject = object(modelFrame)

/** One property of a model; the protocol's binding is under the protocol's key and typed by its own schema. */
export type ModelProperty = Static<typeof propertyFrameObject> & { readonly [protocol: string]: unknown }
export type ModelMethod = Static<ReturnType<typeof methodSchema>>
export type ReportPolicy = Static<ReturnType<typeof reportPolicy>>
export type DeviceModelSpec = Static<typeof modelFrameObject> & {
  properties: ModelProperty[]
  methods?: ModelMethod[]
} & { readonly [protocol: string]: unknown }

export interface DeviceModelStatus {
  readonly [key: string]: Json
}

export type DeviceModel = KubeObject<DeviceModelSpec, DeviceModelStatus>
