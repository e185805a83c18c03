/** One measured figure, printed as one JSON line. */
export interface Figure {
  readonly bench: string
  readonly figure: string
  readonly value: number
  readonly unit: string
  /** What it is measured against in the same run: a peer program or the physical limit. */
  readonly peer?: string
  /** `value` ÷ the peer's value, unless `figure` says otherwise. */
  readonly ratio?: number
  /** The budget in words, for example `>= 0.8 of peer`. */
  readonly budget?: string
  /** Whether the budget is kept; true where there is none. */
  readonly ok: boolean
}

export interface BenchOptions {
  /** Under 40 s: fewer repetitions, same measurement. */
  readonly quick: boolean
}

/** What every file under bench/ exports. */
export type Bench = (options: BenchOptions) => Promise<readonly Figure[]>

/** Value at `share` (0 to 1) of the sorted sample, nearest rank. */
export function percentile(sample: readonly number[], share: number): number {
  if (sample.length === 0) return Number.NaN
  const sorted = [...sample].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!
}

/** Rounds to four significant digits, so that a figure does not claim more than was measured. */
export function significant(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : value
}

/** Resident memory of a process in MiB, from /proc. */
export async function residentMiB(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024
}
