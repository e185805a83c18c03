import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../api/clock.ts'
import { buildFirmware, type FirmwareBuild, type FirmwareBuildOptions } from '../../firmware/tools/build.ts'
import { missingTools, type Tool } from '../../firmware/tools/toolchain.ts'
import type { ModbusRequest, ModbusResponse } from '../../mappers/modbus/session.ts'
import { type ModbusSession, openSerialSession, openTcpSession } from '../../mappers/modbus/session.ts'
import type { BoardRig } from './rig.ts'

/** The test application: 100 registers of every kind (firmware/testing/hundred.c). */
const hundred = fileURLToPath(new URL('../../firmware/testing/hundred.c', import.meta.url))

/** Objects that all tests of a machine share; keyed by content, so that it never holds anything stale. */
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

/** Whether a suite has to be skipped, after saying what to type. In CI nothing is skipped: it throws. */
export function lacks(...tools: Tool[]): boolean {
  const line = missingTools(tools)
  if (line === undefined) return false
  if (process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${line}`)
  process.stderr.write(`skipped: ${line}\n`)
  return true
}

export function buildHundred(
  board: string,
  outDir: string,
  defines: Readonly<Record<string, string | number>> = {},
  more: Partial<FirmwareBuildOptions> = {},
): Promise<FirmwareBuild> {
  return buildFirmware({ board, sources: [hundred], outDir, cacheDir, defines, ...more })
}

/** Generous: a machine that does other work stands still for longer than any board. */
const patienceMs = 5000

/** A master on a board's line, through a path or a port. */
export function masterOf(rig: BoardRig, line = 0, baud = 115_200): ModbusSession {
  const { kind, path, tcp } = rig.lines[line]!
  return kind === 'tcp' && tcp !== undefined
    ? openTcpSession({ host: tcp.host, port: tcp.port, framing: 'rtu' }, { clock: systemClock })
    : openSerialSession({ path: path ?? '', baud }, { clock: systemClock })
}

/** Asks until the board has come up: what is sent before it has enabled its line is lost, as on any board. */
export async function ask(master: ModbusSession, request: ModbusRequest, unit = 1): Promise<ModbusResponse> {
  const endMs = systemClock.monotonic() + 15_000
  for (let timeoutMs = 100; ; timeoutMs = Math.min(patienceMs, timeoutMs * 2)) {
    try {
      return (await master.request(unit, request, { timeoutMs })).response
    } catch (error) {
      const silent = error instanceof Error && 'code' in error && error.code === 'SLUICE_MODBUS_TIMEOUT'
      if (!silent || systemClock.monotonic() > endMs) throw error
    }
  }
}

/** One request to a board that is up. */
export async function once(master: ModbusSession, request: ModbusRequest, unit = 1): Promise<ModbusResponse> {
  return (await master.request(unit, request, { timeoutMs: patienceMs })).response
}

/** The registers of an answer. */
export function words(response: ModbusResponse): number[] {
  if (!('registers' in response)) throw new Error(`no registers in the answer to function ${response.fc}`)
  const { registers } = response
  return Array.from(
    { length: registers.length / 2 },
    (_, index) => (registers[2 * index]! << 8) | registers[2 * index + 1]!,
  )
}

/** What the test application has in holding register `address` below 60. */
export const pattern = (address: number, unit = 1): number => (address * 40_503 + unit * 257 + 1) & 0xffff
