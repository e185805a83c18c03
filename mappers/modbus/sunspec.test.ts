import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { ModbusReply, ModbusRequest, ModbusSession } from './session.ts'
import { catalogueModelOf, findSunSpec, shiftOf } from './sunspec.ts'

/** A unit whose registers are `words`; undefined is refused. */
function unit(words: (address: number) => number | undefined) {
  const asked: number[] = []
  const session: Pick<ModbusSession, 'request'> = {
    request: async (_unit: number, request: ModbusRequest): Promise<ModbusReply> => {
      if (request.fc !== 3) throw new Error('only holding registers are read')
      asked.push(request.address)
      const registers = Buffer.alloc(request.count * 2)
      for (let i = 0; i < request.count; i++) {
        const word = words(request.address + i)
        if (word === undefined) throw new SluiceError('SLUICE_MODBUS_EXCEPTION', 'exception 2', { hint: '' })
        registers.writeUInt16BE(word, i * 2)
      }
      return { response: { fc: 3, registers }, turnaroundMs: 1, wireMs: 1 }
    },
  }
  return { asked, session }
}

const asking = { timeoutMs: 100, signal: new AbortController().signal }

/** 'SunS', then models as id and length, then the end. */
function map(base: number, models: readonly (readonly [id: number, length: number])[]) {
  const words = new Map<number, number>([
    [base, 0x5375],
    [base + 1, 0x6e53],
  ])
  let at = base + 2
  for (const [id, length] of models) {
    words.set(at, id).set(at + 1, length)
    at += 2 + length
  }
  words.set(at, 0xffff)
  return (address: number) => words.get(address) ?? 0
}

describe('the SunSpec map of a device', () => {
  it.each([40_000, 50_000, 0])('is found at %i, with its models', async (base) => {
    const { session } = unit(
      map(base, [
        [1, 66],
        [103, 50],
        [160, 48],
      ]),
    )
    const found = await findSunSpec(session, 1, asking)
    expect(found).toMatchObject({
      base,
      models: [
        { id: 1, at: base + 2 },
        { id: 103, length: 50, at: base + 70 },
        { id: 160, at: base + 122 },
      ],
    })
    expect([shiftOf(found!), catalogueModelOf(found!)?.model]).toEqual([base - 40_000, 'sunspec-inverter-66'])
  })

  it('is not there in a device that refuses, or says something else', async () => {
    expect(await findSunSpec(unit(() => undefined).session, 1, asking)).toBeUndefined()
    expect(await findSunSpec(unit(() => 0x5375).session, 1, asking)).toBeUndefined()
  })

  it('ends after 64 models at most, whatever a device says', async () => {
    const registers = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 300 })
    await fc.assert(
      fc.asyncProperty(registers, async (words) => {
        const { session, asked } = unit((address) => {
          const index = address - 40_000
          return index < 0 ? undefined : ([0x5375, 0x6e53, 1][index] ?? words[index % words.length])
        })
        const found = await findSunSpec(session, 1, asking)
        expect(found?.models.length).toBeLessThanOrEqual(64)
        expect(asked.length).toBeLessThanOrEqual(70)
      }),
    )
  })
})
