import type { Json } from '../api/resources.ts'

type Band = readonly [absolute: number, share: number]

/**
 * How far a figure has to move before it is told again, by its name: at least the absolute band and at least that share
 * of what was told. A figure that is not listed is told as it is.
 */
const BANDS: Readonly<Record<string, Band>> = {
  watts: [0.2, 0.1],
  volts: [0.05, 0.02],
  percent: [1, 0],
  celsius: [2, 0],
  energyJ: [0, 0.01],
  fullJ: [0, 0.01],
  seconds: [60, 0.1],
  lowSeconds: [60, 0.15],
  highSeconds: [60, 0.15],
  signalDbm: [3, 0],
  noiseDbm: [3, 0],
  snrDb: [3, 0],
  quality: [0.08, 0],
  bitrateBps: [0, 0.2],
  retryRatio: [0.05, 0],
  errorRatio: [0.01, 0],
  lossRatio: [0.03, 0],
  roundTripMs: [5, 0.2],
  jitterMs: [5, 0.5],
  beaconLoss: [20, 0],
  errorPercent: [2, 0.2],
}

/**
 * What is told of `now` after `told`: figures that moved by less than their band stay as they were told, so that a
 * status does not change because a sensor is noisy. Everything else is as it is now. Neither is changed.
 */
export function settled<T>(told: T | undefined, now: T): T {
  // The shape of `now` is kept: only numbers of it are replaced, by numbers.
  return told === undefined ? now : (settle(told as Json, now as Json, '') as T)
}

function settle(told: Json, now: Json, name: string): Json {
  if (typeof now === 'number' && typeof told === 'number') return near(told, now, BANDS[name]) ? told : now
  if (isList(now) && isList(told)) return now.map((item, index) => settle(counterpart(told, item, index), item, name))
  if (isMap(now) && isMap(told)) {
    return Object.fromEntries(Object.entries(now).map(([key, value]) => [key, settle(told[key] ?? null, value, key)]))
  }
  return now
}

/** Items of lists are told apart by their name, as Kubernetes does with keyed lists. */
function counterpart(told: readonly Json[], item: Json, index: number): Json {
  if (!isMap(item) || item['name'] === undefined) return told[index] ?? null
  return told.find((each) => isMap(each) && each['name'] === item['name']) ?? null
}

function near(told: number, now: number, band: Band | undefined): boolean {
  if (band === undefined) return told === now
  const [absolute, share] = band
  return Math.abs(now - told) < Math.max(absolute, share * Math.abs(told))
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)
const isMap = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !isList(value)
