import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ANSWER_MS } from '../agent/firmware/update.ts'
import { systemClock } from '../api/clock.ts'
import { buildFirmware } from '../firmware/tools/build.ts'
import { makeImage, parseVersion } from '../firmware/tools/image.ts'
import { developmentKey } from '../firmware/tools/keys.ts'
import { MANAGED_MODULES } from '../firmware/tools/managed.ts'
import { signerOf } from '../firmware/tools/sign.ts'
import { SmpClient } from '../firmware/tools/smp/client.ts'
import { tunnelTransport } from '../firmware/tools/smp/tunnel.ts'
import { boardBus } from '../hil/boards/bus.ts'
import { startBoard } from '../hil/boards/start.ts'
import { createMapper } from '../mappers/modbus/mapper.ts'
import type { MapperHost } from '../mappers/sdk/mapper.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'firmware-ota'
const BAUD = 115_200
const IMAGE_BYTES = 64 * 1024
const BUDGET_S = 10
const POLL_MS = 250

/** 64 KiB to a board over the line it is polled on, at the pace of 115 200 baud, and what the polls see of it. */
export async function run(_options: BenchOptions): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    const build = await buildFirmware({
      board: 'host',
      image: 'standalone',
      sources: [fileURLToPath(new URL('../firmware/testing/managed.c', import.meta.url))],
      modules: MANAGED_MODULES,
      outDir: folder,
      cacheDir: join(folder, 'objects'),
    })
    const slotB = build.board.layout.slotB?.address ?? 0
    // What the processor would run matters to nobody here; its size does.
    const payload = new Uint8Array(IMAGE_BYTES - 1024).fill(0x5a)
    payload.set(readFileSync(build.bin).subarray(0, 1024))
    const image = await makeImage(
      { payload, version: parseVersion('9.0.0'), securityCounter: 9, board: 'host', slotAddress: slotB },
      signerOf(developmentKey(), { production: false }),
    )
    await using rig = await startBoard({ build, lines: ['stream'] })
    await using bus = boardBus([rig], { baud: BAUD, bitsPerChar: 10 }, systemClock)
    const at: number[] = []
    let bad = 0
    const host: MapperHost = {
      clock: systemClock,
      random: Math.random,
      readings: (batch) => {
        if (batch.every(({ quality }) => quality === 'good')) at.push(systemClock.monotonic())
        else bad++
      },
      reachability: () => undefined,
      log: () => undefined,
      event: () => undefined,
      writeNews: () => undefined,
    }
    await using mapper = createMapper(host as Parameters<typeof createMapper>[0])
    mapper.configure([
      {
        key: 'bench/board',
        revision: '1',
        device: {
          model: 'board',
          poll: { every: `${POLL_MS}ms` },
          modbus: { rtu: { port: bus.path, baud: BAUD }, unit: 1 },
        },
        model: { properties: [{ name: 'minor', type: 'int', modbus: { holding: 0, as: 'uint16' } }] },
      },
    ])
    while (at.length < 4) await new Promise((resolve) => setTimeout(resolve, 20))
    const tunnel = mapper.tunnel?.('bench/board')
    if (tunnel === undefined) throw new Error('the mapper carries no management')
    const client = new SmpClient(
      tunnelTransport((pdu, options) => tunnel.ask(pdu, options)),
      { timeoutMs: ANSWER_MS },
    )
    const from = systemClock.monotonic()
    await client.upload(image)
    const seconds = (systemClock.monotonic() - from) / 1000
    const polls = at.filter((each) => each >= from)
    const gaps = polls.map((each, index) => each - (polls[index - 1] ?? from))
    const worst = Math.max(...gaps)
    // Ten bits a character, of the bytes of the image alone.
    const wireS = (image.length * 10) / BAUD
    return [
      {
        ...{ bench, figure: '64 KiB over 115 200 baud, polled meanwhile', value: seconds, unit: 's' },
        ...{ peer: 'the bytes alone on the wire', ratio: seconds / wireS, budget: `<= ${BUDGET_S} s` },
        ok: seconds <= BUDGET_S,
      },
      {
        ...{ bench, figure: `polls every ${POLL_MS} ms that came meanwhile`, value: polls.length, unit: 'polls' },
        ...{
          peer: 'as many as the time has',
          ratio: polls.length / ((seconds * 1000) / POLL_MS),
          budget: '>= 0.95 of peer, none bad',
        },
        ok: bad === 0 && polls.length >= 0.95 * Math.floor((seconds * 1000) / POLL_MS),
      },
      {
        ...{ bench, figure: 'longest time between two polls meanwhile', value: worst, unit: 'ms' },
        ...{ peer: 'the period', ratio: worst / POLL_MS, budget: '<= 2 periods' },
        ok: worst <= 2 * POLL_MS,
      },
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
