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

/** Seconds of processor time a process has used, from /proc (in ticks of a hundredth of a second). */
export async function processorSeconds(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Monotonic milliseconds that every process of this machine counts alike. */
export const machineMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000

/** How long ago the lowest 16 bits of `machineMs` were `stamp`, milliseconds; up to one too much, for ages below a minute. */
export function ageOf(stamp: number, nowMs: number): number {
  const age = (nowMs - stamp) % 65_536
  return age < 0 ? age + 65_536 : age
}
