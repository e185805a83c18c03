/** How far a value can be trusted. `bad(...)` carries the protocol's code, for example `bad(modbus-exception-2)`. */
export type Quality = 'good' | 'uncertain' | 'stale' | `bad(${string})`

export const bad = (code: string): Quality => `bad(${code})`

export const isBad = (quality: Quality): boolean => quality.startsWith('bad(')
