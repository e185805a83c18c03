/** One line of `sluice doctor`. */
export interface CheckResult {
  readonly group: string
  readonly name: string
  readonly status: 'ok' | 'warn' | 'fail' | 'skip'
  /** What was found, in words. */
  readonly says: string
  /** What to type or do; only with `warn` and `fail`. */
  readonly fix?: string
}

/** What the checks look at; tests point `root` at a made-up file tree. */
export interface Patient {
  /** `/` on a real machine; every absolute path is below it. */
  readonly root: string
  readonly data: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly uid: number
  readonly groups: readonly number[]
  readonly user: string
  readonly platform: string
  readonly nodeVersion: string
  readonly nowMs: number
  /** The cloud core's ports where nobody chose others. */
  readonly ports: { readonly api: number; readonly hub: number }
  readonly signal: AbortSignal
}

export type Check = (patient: Patient) => Promise<readonly CheckResult[]>

/** Results of one group, so that a check says only what is particular. */
export const reporter = (group: string) => ({
  ok: (name: string, says: string): CheckResult => ({ group, name, status: 'ok', says }),
  warn: (name: string, says: string, fix: string): CheckResult => ({ group, name, status: 'warn', says, fix }),
  fail: (name: string, says: string, fix: string): CheckResult => ({ group, name, status: 'fail', says, fix }),
  skip: (name: string, says: string): CheckResult => ({ group, name, status: 'skip', says }),
})
