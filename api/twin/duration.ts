import { SluiceError } from '../errors.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a duration such as `500ms`, `1.5s`, `10m`, `6h`, `1d`. */
export function durationMs(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)$/.exec(text)
  if (match === null) {
    throw new SluiceError('SLUICE_INVALID_DURATION', `'${text}' is not a duration`, {
      hint: 'Write a number and a unit: 500ms, 1.5s, 10m, 6h or 1d.',
    })
  }
  return Number(match[1]) * UNIT_MS[match[2]!]!
}
