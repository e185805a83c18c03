import type { Protocol } from '../sdk/mapper.ts'

/** Devices that speak MQTT, and Sparkplug B edge nodes. */
export const mqtt: Protocol = {
  name: 'mqtt',
  listens: () => true,
  schema: async () => (await import('./schema.ts')).mqttSchema,
  lint: async () => (await import('./lint.ts')).lintMqtt,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
