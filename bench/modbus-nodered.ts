import { systemClock } from '../api/clock.ts'
import { openTcpSession } from '../mappers/modbus/session.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'
import { nodeRedReadsPerSecond } from './peers/node-red.ts'

const bench = 'modbus-nodered'
const registersPerRead = 10
const inFlight = 16

/**
 * Reads of ten registers on loopback, sixteen under way, against one server process: our session, which learns its
 * window, beside node-red-contrib-modbus in a real Node-RED, with its queue (its default) and without.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  await using server = await startFarSide('tcp-server.ts')
  const port = Number(server.ready['port'])
  const durationMs = quick ? 4000 : 15_000
  const ours = await sessionReadsPerSecond(port, durationMs)
  const figures: Figure[] = []
  for (const queued of [false, true]) {
    const peer = `node-red-contrib-modbus, ${queued ? 'commands queued (its default)' : 'commands not queued'}`
    const theirs = await nodeRedReadsPerSecond({ port, registersPerRead, inFlight, queued, durationMs })
    const ratio = ours / theirs
    figures.push({ bench, figure: peer, value: theirs, unit: 'reads/s', ok: true })
    figures.push({
      bench,
      figure: `session beside ${peer}`,
      value: ours,
      unit: 'reads/s',
      peer,
      ratio,
      budget: '>= 5 of peer',
      ok: ratio >= 5,
    })
  }
  return figures
}

async function sessionReadsPerSecond(port: number, durationMs: number): Promise<number> {
  await using session = openTcpSession({ host: '127.0.0.1', port, framing: 'tcp' }, { clock: systemClock })
  const endMs = performance.now() + durationMs
  let reads = 0
  const keepReading = async () => {
    while (performance.now() < endMs) {
      await session.request(1, { fc: 3, address: 0, count: registersPerRead }, { timeoutMs: 1000 })
      reads++
    }
  }
  const startedMs = performance.now()
  await Promise.all(Array.from({ length: inFlight }, keepReading))
  return (reads * 1000) / (performance.now() - startedMs)
}
