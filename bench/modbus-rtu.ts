import { systemClock } from '../api/clock.ts'
import { SluiceError } from '../api/errors.ts'
import { openSerialSession } from '../mappers/modbus/session.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'modbus-rtu'
const least = 0.95

/**
 * Reads one after the other on a pseudo-terminal paced at the baud rate, far side in another process. The limit is
 * T(N) = (13 + 2N) characters of 11 bits + 2 t3.5 + Tturn, where Tturn is what the unit took beyond its t3.5.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const baud of [9600, 115_200]) {
    await using line = await startFarSide(new URL('./far-side/rtu-line.ts', import.meta.url), [String(baud)])
    const path = String(line.ready['path'])
    for (const registers of [1, 10, 125]) figures.push(await measure(path, baud, registers, quick ? 3000 : 12_000))
  }
  return figures
}

async function measure(path: string, baud: number, registers: number, durationMs: number): Promise<Figure> {
  await using session = openSerialSession({ path, baud, stopBits: 2 }, { clock: systemClock })
  const request = { fc: 3, address: 0, count: registers } as const
  const patience = { timeoutMs: 500 }
  for (let i = 0; i < 3; i++) await session.request(1, request, patience)
  let reads = 0
  let turnaroundMs = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  while (performance.now() - start < durationMs) {
    try {
      turnaroundMs += (await session.request(1, request, patience)).turnaroundMs
      reads++
    } catch (error) {
      // A machine that stands still for half a second costs reads; that is what the figure then says.
      if (!(error instanceof SluiceError) || error.code !== 'SLUICE_MODBUS_TIMEOUT') throw error
    }
  }
  const elapsedMs = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  const t35Ms = baud > 19_200 ? 1.75 : 38_500 / baud
  const charMs = 11_000 / baud
  const bareMs = (13 + 2 * registers) * charMs + 2 * t35Ms
  const limitMs = bareMs + Math.max(0, turnaroundMs / reads - t35Ms)
  const ratio = limitMs / (elapsedMs / reads)
  const share = Math.round((bareMs / (elapsedMs / reads)) * 1000) / 10
  const processor = Math.round((user + system) / 10 / elapsedMs)
  return {
    bench,
    figure: `${baud} baud, ${registers} registers a read (${share} % of the limit of an instant unit, ${processor} % of a processor)`,
    value: (reads * 1000) / elapsedMs,
    unit: 'reads/s',
    peer: 'limit of the line',
    ratio,
    budget: `>= ${least} of peer`,
    ok: ratio >= least,
  }
}
