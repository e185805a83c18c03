/**
 * How the cloud core's process is to be started. A small young generation in each of its two threads: measured with
 * `bench/wire-path.ts` at 10 000 changes a second, 273 MiB instead of 440, for 74 % of a core instead of 68.
 */
export const CLOUD_FLAGS: readonly string[] = ['--max-semi-space-size=4']
