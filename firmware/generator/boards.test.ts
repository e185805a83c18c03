import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { loadBoard } from '../tools/board.ts'
import { buildFirmware } from '../tools/build.ts'
import { MANAGED_MODULES } from '../tools/managed.ts'
import { gatewayModel } from './emit-documents.ts'
import { SETTINGS_KEY } from './emit-source.ts'
import { hasSlots, modulesFor } from './generate.ts'
import { MappedBoard, roundTrip, type Sample } from './many-models.test-helper.ts'
import { randomModel } from './random-model.test-helper.ts'
import { catalogueModels, generateFor } from './round-trip.test-helper.ts'
import { SampleValues } from './sample-values.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-generated-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

/** A sample for a board of its own, with all that a real one has. */
function whole(name: string, model: DeviceModelSpec, boardName: string, persist = false): Sample {
  const board = loadBoard(boardName)
  const bound = generateFor(name, model).model
  const values = new SampleValues(bound, 7)
  const first = new Map(
    bound.properties.flatMap((property): [string, Json][] => {
      const value = values.valueOf(property)
      return value === undefined ? [] : [[property.name, value]]
    }),
  )
  const writable = new Set(
    bound.properties.filter(({ access }) => (access ?? 'read') !== 'read').map((each) => each.name),
  )
  const properties = new Map(
    [...first].map(([key, value]) => [key, { default: value, ...(persist && writable.has(key) ? { persist } : {}) }]),
  )
  const managed = hasSlots(board)
  return { name, first, values, generated: generateFor(name, model, { board, properties, managed, watchdogMs: 2000 }) }
}

async function buildWhole({ name, generated }: Sample, board: string) {
  const own = join(folder, `${name}-${board}`)
  mkdirSync(own, { recursive: true })
  for (const [file, text] of generated.files) writeFileSync(join(own, file), text)
  const managed = hasSlots(loadBoard(board))
  return buildFirmware({
    board,
    sources: [join(own, 'properties.c'), join(own, 'main.c')],
    modules: modulesFor(generated.plan, managed ? MANAGED_MODULES : []),
    outDir: join(own, 'out'),
    cacheDir,
  })
}

/** Whether the settings log has a record of each key: key, size, and its complement (core/settings.h). */
async function recorded(rig: BoardRig, keys: readonly number[]): Promise<boolean> {
  const flash = Buffer.from(await rig.readFlash())
  return keys.every((key) => {
    for (let at = flash.indexOf(key & 0xff); at >= 0; at = flash.indexOf(key & 0xff, at + 1)) {
      if (flash[at + 1] === key >> 8 && flash[at + 2]! + flash[at + 3]! === 0xff && flash[at + 2] !== 0xff) return true
    }
    return false
  })
}

const meter = () => catalogueModels().find(({ name }) => name === 'eastron-sdm120')!.spec

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm', 'cc'))('a generated board', { timeout: 90_000 }, () => {
  it.each(['rp2040', 'microbit', 'mps2-an385', 'stm32vldiscovery', 'netduinoplus2', 'host'])(
    '%s is its model, first values, writes and all',
    async (board) => {
      const random = randomModel(4711, 40)
      const refused = new Set(generateFor('m', random).findings.map(({ path }) => path[2]))
      const model = { ...random, properties: random.properties.filter((_, at) => !refused.has(at)) }
      const sample = whole('random', model, board)
      expect(sample.generated.findings).toEqual([])
      const build = await buildWhole(sample, board)
      await using rig = await startBoard({ build, lines: ['tcp'] })
      await using mapped = new MappedBoard({ rtuOverTcp: rig.lines[0]!.tcp! })
      expect(await roundTrip(mapped, sample)).toEqual([])
    },
  )

  it.each(['host', 'microbit', 'rp2040'])('%s keeps what was written over a power cut', async (board) => {
    const model: DeviceModelSpec = {
      properties: [
        { name: 'setpoint', type: 'float', access: 'readwrite', min: 5, max: 35 },
        { name: 'name', type: 'string', access: 'readwrite', modbus: { holding: 100, as: 'string', length: 8 } },
        { name: 'on', type: 'bool', access: 'readwrite' },
        { name: 'bits', type: 'int', access: 'readwrite', modbus: { holding: 200, bits: { first: 3, count: 5 } } },
      ],
    }
    const sample = whole('kept', model, board, true)
    const build = await buildWhole(sample, board)
    await using rig = await startBoard({ build, lines: ['tcp'] })
    const written = new Map<string, Json>([
      ['setpoint', 22.5],
      ['name', 'Gewächs'],
      ['on', true],
      ['bits', 19],
    ])
    {
      await using mapped = new MappedBoard({ rtuOverTcp: rig.lines[0]!.tcp! })
      mapped.serve(gatewayModel(sample.generated.model))
      await mapped.reads(sample.first)
      for (const [name, value] of written) expect(await mapped.write(name, value)).toMatchObject({ state: 'applied' })
      const keys = sample.generated.plan.properties.map(({ number }) => SETTINGS_KEY + number)
      while (!(await recorded(rig, keys))) expect(await mapped.write('on', true)).toMatchObject({ state: 'applied' })
    }
    await rig.powerCut()
    await rig.powerOn()
    await using again = new MappedBoard({ rtuOverTcp: rig.lines[0]!.tcp! })
    again.serve(gatewayModel(sample.generated.model))
    await again.reads(written)
  })

  it('is refused by a gateway that has another model, and served by one that has the same', async () => {
    const sample = whole('meter', meter(), 'host')
    const build = await buildWhole(sample, 'host')
    await using rig = await startBoard({ build, lines: ['tcp'] })
    await using mapped = new MappedBoard({ rtuOverTcp: rig.lines[0]!.tcp! })
    const { model } = sample.generated
    const moved = model.properties.map((each) => (each.name === 'voltage' ? { ...each, unit: 'kV' } : each))
    mapped.serve(gatewayModel({ ...model, properties: moved }))
    expect(await mapped.quality('voltage')).toBe('bad(model-mismatch)')
  })

  it('is made of the same bytes each time, and small', async () => {
    const sample = whole('meter', meter(), 'microbit')
    const again = whole('meter', meter(), 'microbit')
    expect([...sample.generated.files]).toEqual([...again.generated.files])
    const { sizes } = await buildWhole(sample, 'microbit')
    expect(sizes.flashBytes).toBeLessThan(24 * 1024)
    expect(sizes.ramBytes).toBeLessThan(4096)
  })
})
