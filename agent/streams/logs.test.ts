import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LogsTarget } from '../../api/link/pod-streams.ts'
import { CriLines, splitCri } from './cri-lines.ts'
import { readLog } from './log-reader.ts'
import { tailOffset } from './log-tail.ts'

const TIME = '2026-01-02T03:04:05.678901234Z'
const POD: LogsTarget = { namespace: 'default', pod: 'p', uid: 'u', container: 'main' }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-logs-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A text as a runtime writes it: each line, in parts where `parts` says so. */
const written = (lines: readonly (readonly string[])[]): string =>
  lines
    .flatMap((parts) =>
      parts.map((part, index) => `${TIME} stdout ${index === parts.length - 1 ? 'F' : 'P'} ${part}\n`),
    )
    .join('')
const lines = fc.array(
  fc.array(
    fc.string({ maxLength: 30 }).map((s) => s.replaceAll('\n', '')),
    { minLength: 1, maxLength: 3 },
  ),
)
const shown = (list: readonly (readonly string[])[]) => list.map((parts) => `${parts.join('')}\n`).join('')

describe('a log in CRI format', () => {
  it('becomes the text that was written, however it is cut', () => {
    fc.assert(
      fc.property(lines, fc.integer({ min: 1, max: 40 }), (list, size) => {
        const all = Buffer.from(written(list))
        const reader = new CriLines({})
        const out: Buffer[] = []
        for (let at = 0; at < all.length; at += size) out.push(reader.take(all.subarray(at, at + size)))
        out.push(reader.end())
        expect(Buffer.concat(out).toString()).toBe(shown(list))
      }),
    )
  })

  it('any bytes are lines', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
        const reader = new CriLines({ timestamps: true, sinceMs: 5 })
        reader.take(Buffer.from(garbage))
        reader.end()
        splitCri(Buffer.from(garbage))
      }),
    )
  })

  it('shows times once a line, nothing before a moment, and no more bytes than wanted', () => {
    const all = Buffer.from(`${written([['a', 'b']])}2030-01-01T00:00:00.000000000Z stderr F late\n`)
    expect(new CriLines({ timestamps: true }).take(all).toString()).toBe(
      `${TIME} ab\n2030-01-01T00:00:00.000000000Z late\n`,
    )
    expect(new CriLines({ sinceMs: Date.parse('2029-01-01') }).take(all).toString()).toBe('late\n')
    const limited = new CriLines({ limitBytes: 4 })
    expect(limited.take(all).toString()).toBe('ab\nl')
    expect(limited.done).toBe(true)
  })

  it('its last lines are found from the end', async () => {
    let number = 0
    await fc.assert(
      fc.asyncProperty(lines, fc.integer({ min: 0, max: 8 }), async (list, tailLines) => {
        const path = join(folder, `tail-${++number}`)
        const all = written(list)
        writeFileSync(path, all)
        await using file = await open(path)
        const offset = await tailOffset(file, { tailLines })
        const text = new CriLines({}).take(Buffer.from(all).subarray(offset)).toString()
        expect(text).toBe(shown(tailLines === 0 ? [] : list.slice(-tailLines)))
      }),
      { numRuns: 60 },
    )
  })

  it('its last lines are found in a large file, too', async () => {
    const path = join(folder, 'large')
    writeFileSync(path, written(Array.from({ length: 20_000 }, (_, index) => [`line ${index}`])))
    const target = { ...POD, tailLines: 3 }
    const source = { running: async () => false, wake: () => () => {} }
    let text = ''
    for await (const part of readLog(path, target, source, new AbortController().signal)) text += part.toString()
    expect(text).toBe('line 19997\nline 19998\nline 19999\n')
  })

  it('is followed through a rotation until the container has ended', async () => {
    const path = join(folder, '0.log')
    writeFileSync(path, written([['one']]))
    let running = true
    let wake = () => {}
    const source = {
      running: async () => running,
      wake: (listener: () => void) => {
        wake = listener
        return () => {}
      },
    }
    const seen: string[] = []
    for await (const part of readLog(path, { ...POD, follow: true }, source, new AbortController().signal)) {
      seen.push(part.toString())
      if (seen.length === 1) {
        appendFileSync(path, written([['two']]))
        renameSync(path, `${path}.1`)
        writeFileSync(path, written([['three']]))
      }
      if (seen.join('').includes('three')) {
        running = false
        wake()
      }
    }
    expect(seen.join('')).toBe('one\ntwo\nthree\n')
  })

  it('a follower that is not wanted any more stops at once', async () => {
    const path = join(folder, 'stopped.log')
    writeFileSync(path, written([['one']]))
    const stop = new AbortController()
    const source = { running: async () => true, wake: () => () => {} }
    const read = async () => {
      for await (const _ of readLog(path, { ...POD, follow: true }, source, stop.signal))
        stop.abort(new Error('enough'))
    }
    await expect(read()).rejects.toThrow('enough')
  })
})
