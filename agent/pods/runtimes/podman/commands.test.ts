import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Frames } from './commands.ts'

const frame = fc.record({
  stream: fc.constantFrom('stdout' as const, 'stderr' as const),
  data: fc.uint8Array({ maxLength: 40 }),
})

const encode = ({ stream, data }: { stream: 'stdout' | 'stderr'; data: Uint8Array }) => {
  const header = Buffer.alloc(8)
  header[0] = stream === 'stdout' ? 1 : 2
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

describe('what podman sends of a command', () => {
  it('is taken apart the same however it is cut', () => {
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.nat(30)), (sent, cuts) => {
        const whole = Buffer.concat(sent.map(encode))
        const frames = new Frames()
        const got = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
        const take = (part: Buffer) => {
          for (const { stream, data } of frames.take(part)) if (stream !== 'stdin') got[stream].push(data)
        }
        let from = 0
        for (const cut of cuts) {
          take(whole.subarray(from, from + cut))
          from += cut
        }
        take(whole.subarray(from))
        for (const stream of ['stdout', 'stderr'] as const) {
          const meant = sent.filter((one) => one.stream === stream).map(({ data }) => data)
          expect(Buffer.concat(got[stream])).toEqual(Buffer.concat(meant))
        }
      }),
    )
  })

  it('may be any bytes: they are read or refused with one code', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (parts) => {
        const frames = new Frames()
        try {
          for (const part of parts) frames.take(Buffer.from(part))
        } catch (error) {
          expect(error).toMatchObject({ code: 'SLUICE_POD_RUNTIME_WORDS' })
        }
      }),
    )
  })
})
