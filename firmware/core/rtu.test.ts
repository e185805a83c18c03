import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { rtuFrame } from '../../hil/modbus-unit.ts'
import { compileForHost, hasCompiler, run } from './checks/host-build.ts'

const gap = 0x100
const pause = 0x200
const damaged = 0x400

const frameOf = (unit: number, ...pdu: number[]): number[] => [...rtuFrame(unit, Uint8Array.from(pdu))]
/** A frame as it comes after silence. */
const silent = (frame: readonly number[]): number[] => frame.map((byte, at) => (at === 0 ? byte | gap : byte))
const hex = (bytes: readonly number[]): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')

const read = frameOf(7, 3, 0, 1, 0, 2)
const answerOfAnother = frameOf(9, 3, 4, 1, 2, 3, 4)

describe.skipIf(!hasCompiler())('the RTU framer of the firmware', () => {
  let program = ''
  beforeAll(async () => {
    program = await compileForHost(['checks/rtu-lines.c', 'rtu.c', 'crc16.c', 'memory.c'], {
      flags: ['-fno-builtin', '-Dmemcpy=sl_memcpy', '-Dmemmove=sl_memmove', '-Dmemset=sl_memset', '-Dmemcmp=sl_memcmp'],
    })
  })

  /** Plays entries to unit 7: what was handed out, where, and the counters. */
  async function play(...scenarios: readonly (readonly (number | string)[])[]) {
    const input = scenarios.map(
      (entries) => `7 ${entries.map((one) => (typeof one === 'string' ? one : one.toString(16))).join(' ')}\n`,
    )
    const output = await run(program, [], input.join(''))
    return output
      .split('\n')
      .slice(0, scenarios.length)
      .map((line) => {
        const [frames = '', counters = ''] = line.split('|')
        const [messages = 0, crcErrors = 0, overruns = 0] = counters.trim().split(' ').map(Number)
        return {
          frames: frames
            .trim()
            .split(' ')
            .filter((one) => one !== ''),
          messages,
          crcErrors,
          overruns,
        }
      })
  }
  const one = async (...entries: (number | string)[]) => (await play(entries))[0]!

  it('hands a request out with its last byte, once', async () => {
    expect(await one(...silent(read))).toEqual({ frames: [`7:${hex(read)}`], messages: 1, crcErrors: 0, overruns: 0 })
  })

  it('believes nothing before the first silence', async () => {
    expect((await one(...read)).frames).toEqual([])
  })

  it('takes requests to all, and none to another unit', async () => {
    const all = frameOf(0, 6, 0, 1, 0, 2)
    expect((await one(...silent(all))).frames).toEqual([`7:${hex(all)}`])
    expect(await one(...silent(frameOf(8, 3, 0, 1, 0, 2)))).toMatchObject({ frames: [], messages: 1, crcErrors: 0 })
  })

  it.each([
    [[3, 4, 1, 2, 3, 4]],
    [[1, 1, 5]],
    [[6, 0, 1, 0, 2]],
    [[16, 0, 1, 0, 2]],
    [[22, 0, 1, 0, 2, 0, 3]],
    [[23, 2, 1, 2]],
    [[0x83, 2]],
    [[43, 14, 1, 0x83, 0, 0, 2, 0, 3, 65, 66, 67, 1, 1, 68]],
    [[0x41, 3, 1, 2, 3]],
    [[7, 5]],
    [[11, 0, 0, 0, 9]],
    [[17, 3, 1, 255, 2]],
    [[24, 0, 4, 0, 1, 9, 9]],
  ])('steps over the answer %j of another unit even when no silence was seen', async (pdu) => {
    const seen = await one(...silent(frameOf(9, ...pdu)), ...read)
    expect(seen).toMatchObject({ messages: 2, crcErrors: 0 })
    expect(seen.frames).toHaveLength(1)
  })

  it('waits for the silence before it judges a function whose length it does not know', async () => {
    const odd = frameOf(7, 99, 1, 2, 3, 4, 5)
    expect((await one(...silent(odd))).frames).toEqual([])
    expect((await one(...silent(odd), 'S')).frames).toEqual([`${odd.length}:${hex(odd)}`])
    expect((await one(...silent(odd.slice(0, -1)), 'S')).frames).toEqual([])
  })

  it('drops its own echo, and hears who spoke instead', async () => {
    const mine = frameOf(7, 6, 0, 1, 0, 2)
    expect((await one(`E${hex(mine)}`, ...silent(mine), ...silent(read))).frames).toEqual([
      `${mine.length + 8}:${hex(read)}`,
    ])
    expect((await one(`E${hex(mine)}`, ...silent(answerOfAnother), ...silent(read))).frames).toHaveLength(1)
  })

  it('forgets everything when a byte was damaged, until the next silence', async () => {
    const seen = await one(...silent(read).map((byte, at) => (at === 5 ? byte | damaged : byte)), ...silent(read))
    expect(seen).toMatchObject({ overruns: 1 })
    expect(seen.frames).toHaveLength(1)
  })

  it('finds a request broken up by silences anywhere, and behind any beginning of a broken one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { maxLength: 4 }),
        fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 60 }),
        async (cuts, before) => {
          const broken = read.map((byte, at) => (at === 0 || cuts.includes(at) ? byte | gap : byte))
          const seen = await one(...silent(before), ...broken)
          expect(seen.frames.at(-1)?.endsWith(hex(read))).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('never hands out a request of which one or two bits were turned over', async () => {
    const pdus = [
      [3, 0, 1, 0, 2],
      [6, 0, 1, 0, 2],
      [16, 0, 1, 0, 2, 4, 1, 2, 3, 4],
      [0x41, 4, 9, 8, 7, 6],
      [99, 1, 2],
    ]
    const scenarios: (number | string)[][] = []
    for (const pdu of pdus) {
      const frame = frameOf(7, ...pdu)
      for (let first = 0; first < frame.length * 8; first++) {
        for (let second = first; second < frame.length * 8; second += 5) {
          const flipped = [...frame]
          flipped[first >> 3]! ^= 1 << (first & 7)
          if (second !== first) flipped[second >> 3]! ^= 1 << (second & 7)
          scenarios.push([...silent(flipped), 'S'])
        }
      }
    }
    const heard = (await play(...scenarios)).filter(({ frames }) => frames.length > 0)
    expect(scenarios.length).toBeGreaterThan(2500)
    expect(heard).toEqual([])
  })

  it('hears the next clean request after any noise', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.integer({ min: 0, max: 0x7ff }),
            fc.constantFrom(...silent(read)),
            fc.constantFrom(...silent(answerOfAnother)),
            fc.constant('S'),
          ),
          { maxLength: 400 },
        ),
        async (noise) => {
          const clean = [(read[0] ?? 0) | gap | pause, ...read.slice(1)]
          const seen = await one(...noise, ...clean, ...silent(read))
          expect(seen.frames.slice(-2).map((frame) => frame.split(':')[1])).toEqual([hex(read), hex(read)])
        },
      ),
      { numRuns: 100 },
    )
  })
})
