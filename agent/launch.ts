/**
 * How the agent's process is to be started; measured with `bench/agent-memory.ts`, resident memory at 1 000 reported
 * properties a second with the link up, against no flags at all.
 *
 * - The compilers stay off, so bytecode is all the code there is: the optimising ones touch 7 MiB of Node's own program,
 *   the quick one costs 2 MiB. They save little, because the agent waits for wires, the disk and TLS (12 % of a core
 *   with them, 14 % without; at 10 000 properties a second over Modbus 17 and 23 %).
 * - One thread collects garbage: the heap has 10 MiB, and each helper thread keeps memory of its own.
 * - A small young generation and compact code; what ran once, at the start, is forgotten by the first collection that
 *   finds it unused: 2 MiB, compiled again should it be needed.
 * - Node's own list of authorities is not read: `api/public-authorities.ts`.
 */
export const AGENT_FLAGS: readonly string[] = [
  '--max-semi-space-size=1',
  '--optimize-for-size',
  '--no-opt',
  '--no-maglev',
  '--no-sparkplug',
  '--single-threaded',
  '--bytecode-old-age=1',
  '--use-openssl-ca',
]

/**
 * One arena of the C library's allocator instead of one a thread: 3 MiB less. What is freed goes back to the system from
 * 64 KiB on, instead of from wherever the threshold has moved to by itself: 0.5 to 1 MiB less.
 */
export const AGENT_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '65536',
  MALLOC_TOP_PAD_: '16384',
}
