import type { Protocol } from '../sdk/mapper.ts'

/** Bluetooth LE: advertisements and GATT. */
export const ble: Protocol = {
  name: 'ble',
  schema: async () => (await import('./schema.ts')).bleSchema,
  lint: async () => (await import('./lint.ts')).lintBle,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
