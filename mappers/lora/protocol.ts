import type { Protocol } from '../sdk/mapper.ts'

/** LoRaWAN 1.0.x: a network server of the gateway's own, ChirpStack or The Things Stack. */
export const lora: Protocol = {
  name: 'lora',
  listens: () => true,
  fileKeys: { decoderFile: 'decoder' },
  schema: async () => (await import('./schema.ts')).loraSchema,
  lint: async () => (await import('./lint.ts')).lintLora,
  explain: async () => (await import('./explain.ts')).explainBinding,
  load: async () => (await import('./mapper.ts')).createMapper,
}
