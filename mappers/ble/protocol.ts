import type { Protocol } from '../sdk/mapper.ts'

/** Bluetooth LE: advertisements and GATT. */
export const ble: Protocol = {
  name: 'ble',
  overhears: true,
  // Only a characteristic that does not notify is read; everything else is heard.
  listens: (property) => {
    const { characteristic, notify } = (property['ble'] ?? {}) as { characteristic?: string; notify?: boolean }
    return characteristic === undefined || notify === true
  },
  schema: async () => (await import('./schema.ts')).bleSchema,
  lint: async () => (await import('./lint.ts')).lintBle,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
