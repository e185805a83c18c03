import type { Protocol } from '../sdk/mapper.ts'
import { TABLES } from './tables.ts'

/** Modbus over TCP, RTU, RTU over TCP and ASCII. */
export const modbus: Protocol = {
  name: 'modbus',
  tries: true,
  moved: (binding, by) => {
    const add = (value: unknown) => (typeof value === 'number' ? value + by : value)
    const { write } = binding
    const out: Record<string, unknown> = { ...binding }
    for (const key of [...TABLES, 'scaleRegister']) if (key in out) out[key] = add(out[key])
    if (typeof write === 'object' && write !== null && 'register' in write) {
      out['write'] = { ...write, register: add(write.register) }
    }
    return out
  },
  schema: async () => (await import('./schema.ts')).modbusSchema,
  lint: async () => (await import('./lint.ts')).lintModbus,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
