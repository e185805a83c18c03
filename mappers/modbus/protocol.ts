import type { Protocol } from '../sdk/mapper.ts'

/** Modbus over TCP, RTU, RTU over TCP and ASCII. */
export const modbus: Protocol = {
  name: 'modbus',
  schema: async () => (await import('./schema.ts')).modbusSchema,
  lint: async () => (await import('./lint.ts')).lintModbus,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
