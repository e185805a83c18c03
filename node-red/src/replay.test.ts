import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../test/harness/folder.ts'
import { cursorFile } from './cursor-keeper.ts'
import { Replay } from './replay.ts'

describe('a node that is deployed anew', () => {
  it('hears exactly what came while it was away, or starts anew when that is no longer there', () => {
    fc.assert(
      fc.property(fc.nat(30), fc.nat(60), (before, during) => {
        const replay = new Replay<number>(20)
        for (let n = 0; n < before; n++) replay.push(n)
        replay.left('a')
        for (let n = 0; n < during; n++) replay.push(before + n)
        const missed = replay.missedBy('a')
        if (missed.length > 0 || during === 0)
          expect(missed).toEqual(Array.from({ length: during }, (_, n) => before + n))
        else expect(during).toBeGreaterThan(20)
        expect(replay.missedBy('a')).toEqual([])
      }),
    )
  })
})

describe('a node that is being deployed', () => {
  it('misses nothing between its making and its entering, and keeps an earlier place', () => {
    const replay = new Replay<number>()
    replay.push(1)
    replay.arrives('new')
    replay.left('old')
    replay.push(2)
    replay.arrives('old')
    replay.push(3)
    expect(replay.missedBy('new')).toEqual([2, 3])
    expect(replay.missedBy('old')).toEqual([2, 3])
  })
})

describe('the cursor on the disk', () => {
  it('is read again by the same node for the same gateway, and by nobody else', () => {
    using folder = temporaryFolder('cursor')
    const first = cursorFile(folder.path, 'n1', '/run/a.sock')
    expect(first.value).toBeUndefined()
    first.value = 'abc-17'
    first.save()
    expect(cursorFile(folder.path, 'n1', '/run/a.sock').value).toBe('abc-17')
    expect(cursorFile(folder.path, 'n1', 'https://hub').value).toBeUndefined()
    expect(cursorFile(folder.path, 'n2', '/run/a.sock').value).toBeUndefined()
  })

  it('survives a file that is anything at all, and a folder that cannot be written', () => {
    using folder = temporaryFolder('cursor')
    mkdirSync(join(folder.path, 'sluice'))
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        writeFileSync(join(folder.path, 'sluice', 'n.cursor.json'), text)
        const { value } = cursorFile(folder.path, 'n', 't')
        expect(value === undefined || typeof value === 'string').toBe(true)
      }),
    )
    const file = join(folder.path, 'file')
    writeFileSync(file, '')
    const nowhere = cursorFile(file, 'n', 't')
    nowhere.value = 'x'
    expect(() => nowhere.save()).not.toThrow()
  })
})
