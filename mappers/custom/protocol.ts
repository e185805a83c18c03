import { SluiceError } from '../../api/errors.ts'
import type { Protocol } from '../sdk/mapper.ts'

/**
 * Devices that a program of the user's own serves, with the messages of a KubeEdge mapper on the gateway's broker. Its
 * address and bindings are free (`custom: {...}`) and that program's to read, so there is no schema to add.
 */
export const custom: Protocol = {
  name: 'custom',
  listens: () => true,
  schema: () =>
    Promise.reject(
      new SluiceError('SLUICE_MAPPER_NO_SCHEMA', 'custom has no schema of its own', {
        hint: 'It stands in api/schema/device.ts beside the protocols.',
      }),
    ),
  lint: async () => () => [],
  explain:
    async () =>
    ({ key }) => ({ ...NOTHING_PLANNED, device: key }),
  load: async () => (await import('./mapper.ts')).createMapper,
}

const NOTHING_PLANNED = {
  link: 'custom',
  requests: [],
  load: 0,
  naiveLoad: 0,
  notes: ['A program of your own serves this device; it decides when what is read.'],
} as const
