import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LogFlush } from './log-flush.ts'

let folder = ''
const waiting: ((error: Error | null) => void)[] = []
const trouble: unknown[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-flush-'))
  waiting.length = 0
  trouble.length = 0
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const open = () =>
  new LogFlush(
    join(folder, 'api.db'),
    (error) => trouble.push(error),
    (_, done) => waiting.push(done),
  )

describe('flushing the log', () => {
  it('happens once for what is new, one at a time, and not at all when nothing was written', () => {
    writeFileSync(join(folder, 'api.db-wal'), 'log')
    using flush = open()
    flush.upTo(5)
    flush.upTo(7)
    expect(waiting).toHaveLength(1)
    waiting.shift()!(null)
    flush.upTo(5)
    expect(waiting).toHaveLength(0)
    flush.upTo(7)
    expect(waiting).toHaveLength(1)
    waiting.shift()!(null)
  })

  it('is tried again after the disk refused, and says so', () => {
    writeFileSync(join(folder, 'api.db-wal'), 'log')
    using flush = open()
    flush.upTo(5)
    waiting.shift()!(new Error('EIO'))
    expect(trouble).toHaveLength(1)
    flush.upTo(5)
    expect(waiting).toHaveLength(1)
    waiting.shift()!(null)
  })

  it('waits for the log to exist', () => {
    using flush = open()
    flush.upTo(5)
    expect(waiting).toHaveLength(0)
  })
})
