import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../api/clock.ts'
import { buildFirmware, type FirmwareBuild } from '../firmware/tools/build.ts'
import { runTool } from '../firmware/tools/toolchain.ts'
import { startBoard } from '../hil/boards/start.ts'
import { createMapper } from '../mappers/modbus/mapper.ts'
import { openTcpSession } from '../mappers/modbus/session.ts'
import type { MapperHost } from '../mappers/sdk/mapper.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'firmware-modbus'
const least = 1000
/** nanoMODBUS compiled with -Os for a Cortex-M0: its whole server, bytes. */
const nanoModbusBytes = 5850

/** What the server is made of, without start-up code, line driver and main loop. */
const serverModules = ['crc16', 'rtu', 'registers', 'modbus']

/** Ten-register reads a second from emulated boards through the agent's mapper, and the sizes of what runs on them. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    const figures: Figure[] = []
    for (const board of ['microbit', 'mps2-an385']) {
      const build = await buildFirmware({
        board,
        sources: [fileURLToPath(new URL('../firmware/testing/hundred.c', import.meta.url))],
        outDir: join(folder, board),
        cacheDir: join(folder, 'objects'),
      })
      figures.push(await reads(build, quick ? 3000 : 10_000))
      if (board === 'microbit') figures.push(...(await sizes(build, folder)))
    }
    figures.push(await rebuild(folder))
    return figures
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function reads(build: FirmwareBuild, durationMs: number): Promise<Figure> {
  await using rig = await startBoard({ build, lines: ['tcp'] })
  const tcp = rig.lines[0]?.tcp
  if (tcp === undefined) throw new Error('the board has no line')
  await comesUp(tcp)
  let answers = 0
  const host: MapperHost = {
    clock: systemClock,
    random: Math.random,
    readings: (batch) => {
      if (batch.every(({ quality }) => quality === 'good')) answers++
    },
    reachability: () => undefined,
    log: () => undefined,
    event: () => undefined,
    writeNews: () => undefined,
  }
  const mapper = createMapper(host)
  try {
    // One request reads the ten of a device; all devices together ask for more than any board answers.
    const modbus = { rtuOverTcp: tcp, unit: 1 }
    const devices = Array.from({ length: 40 }, (_, device) => {
      const property = (at: number) => ({ name: `r${at}`, type: 'int' as const, modbus: { holding: device + at } })
      const model = { properties: Array.from({ length: 10 }, (_, at) => property(at)) }
      return { key: `bench/${device}`, device: { model: 'm', modbus, poll: { every: '10ms' } }, model, revision: '1' }
    })
    mapper.configure(devices)
    const pause = (ms: number) => new Promise((resolve) => systemClock.after(ms, () => resolve(undefined)))
    await pause(500)
    const from = answers
    const startMs = performance.now()
    await pause(durationMs)
    const value = ((answers - from) * 1000) / (performance.now() - startMs)
    return {
      bench,
      figure: `${build.board.name} in QEMU: ten-register reads through the mapper`,
      value,
      unit: 'reads/s',
      // Bytes go one by one through the emulator of the second board: it is told, and held to nothing.
      ...(build.board.name === 'microbit' ? { budget: `>= ${least}`, ok: value >= least } : { ok: true }),
    }
  } finally {
    await mapper[Symbol.asyncDispose]()
  }
}

async function comesUp({ host, port }: { host: string; port: number }): Promise<void> {
  await using session = openTcpSession({ host, port, framing: 'rtu' }, { clock: systemClock })
  for (let tries = 0; tries < 50; tries++) {
    try {
      await session.request(1, { fc: 3, address: 0, count: 1 }, { timeoutMs: 200 })
      return
    } catch {
      // not up yet
    }
  }
  throw new Error('the board does not come up')
}

async function sizes({ sizes, elf }: FirmwareBuild, folder: string): Promise<Figure[]> {
  const objects = join(folder, 'objects')
  const { stdout } = await runTool('arm-none-eabi-nm', ['-S', '-l', elf])
  const server = stdout
    .split('\n')
    .filter((line) => serverModules.some((name) => line.includes(`core/${name}.c:`)) && / [tTrR] /.test(line))
    .reduce((sum, line) => sum + Number.parseInt(line.split(' ')[1] ?? '0', 16), 0)
  if (server === 0) throw new Error(`no symbols of the server in ${elf}, objects in ${objects}`)
  const figure = (what: string, value: number, limit: number, peer?: { name: string; bytes: number }): Figure => ({
    bench,
    figure: what,
    value,
    unit: 'bytes',
    budget: `<= ${limit}`,
    ok: value <= limit,
    ...(peer === undefined ? {} : { peer: peer.name, ratio: value / peer.bytes }),
  })
  return [
    figure('Modbus server with RTU framer and register map, Cortex-M0', server, 4096, {
      name: 'nanoMODBUS server without framing by silence, 5850 bytes',
      bytes: nanoModbusBytes,
    }),
    figure('application with 100 registers, flash, nRF51', sizes.flashBytes, 24 * 1024),
    figure('application with 100 registers, RAM with the deepest stack, nRF51', sizes.ramBytes, 4096),
  ]
}

/** One file changed: compile it, link, check the stack and the budgets. */
async function rebuild(folder: string): Promise<Figure> {
  const timesMs: number[] = []
  for (let turn = 0; turn < 6; turn++) {
    const startMs = performance.now()
    await buildFirmware({
      board: 'microbit',
      sources: [fileURLToPath(new URL('../firmware/testing/hundred.c', import.meta.url))],
      outDir: join(folder, 'rebuilt'),
      cacheDir: join(folder, 'objects'),
      defines: {},
    })
    if (turn > 0) timesMs.push(performance.now() - startMs)
  }
  const value = timesMs.sort((a, b) => a - b)[2] ?? Number.NaN
  return { bench, figure: 'build with nothing changed', value, unit: 'ms', budget: '<= 200', ok: value <= 200 }
}
