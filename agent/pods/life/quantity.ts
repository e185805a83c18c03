const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/** The number that a Kubernetes quantity says (`250m`, `64Mi`, `1e3`); undefined when it is none. */
export function quantity(text: string | number | undefined): number | undefined {
  if (text === undefined) return undefined
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i)?$/.exec(String(text).trim())
  const factor = FACTORS[match?.[2] ?? '']
  const value = Number(match?.[1] ?? Number.NaN) * (factor ?? Number.NaN)
  return Number.isFinite(value) ? value : undefined
}
