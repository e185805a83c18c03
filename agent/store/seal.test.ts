import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LinkObject } from '../../api/link/messages.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { silentLog } from '../log.ts'
import { temporaryDirectory } from '../test-helpers/plant.ts'
import { Store } from './store.ts'

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
})
afterEach(() => directory[Symbol.dispose]())

const open = () => new Store({ directory: directory.path, clock: new VirtualClock(), log: silentLog })
const WORD = 'open-sesame-4711'
const secret = (name: string, word: string): LinkObject => ({
  kind: 'Secret',
  key: `plant/${name}`,
  rev: '1',
  object: { uid: name, generation: 1, data: { password: Buffer.from(word).toString('base64') } },
})
const keep = (store: Store, ...objects: readonly LinkObject[]) =>
  store.transact('state', (writer) => {
    for (const each of objects) writer.putObject(each)
  })

describe('secrets on the disk of a gateway', () => {
  it('are in no file of the store as they are, and come back as they were', () => {
    const first = open()
    keep(first, secret('one', WORD))
    const forms = [WORD, Buffer.from(WORD).toString('base64'), Buffer.from(WORD).toString('hex'), 'password']
    const found = () =>
      readdirSync(directory.path).flatMap((name) => {
        const bytes = readFileSync(join(directory.path, name))
        return forms.filter((form) => bytes.includes(form)).map((form) => [name, form])
      })
    // While it is written, with its log, and after the clean end.
    expect(found()).toEqual([])
    first[Symbol.dispose]()
    expect(found()).toEqual([])
    expect(statSync(join(directory.path, 'secrets.key')).mode & 0o777).toBe(0o600)
    using second = open()
    expect(second.objects()).toEqual([secret('one', WORD)])
  })

  it('are not held without their key, with another one, or in the place of another: the hub sends them again', () => {
    const first = open()
    keep(first, secret('one', WORD), secret('two', 'other'))
    first[Symbol.dispose]()
    const path = join(directory.path, 'agent.db')
    {
      using database = new DatabaseSync(path)
      const swap = database.prepare(
        "UPDATE objects SET body = (SELECT body FROM objects WHERE key = 'plant/one') WHERE key = 'plant/two'",
      )
      swap.run()
    }
    {
      using swapped = open()
      expect(swapped.objects()).toEqual([secret('one', WORD)])
    }
    rmSync(join(directory.path, 'secrets.key'))
    using without = open()
    expect(without.objects()).toEqual([])
    keep(without, secret('three', WORD))
    expect(without.objects()).toEqual([secret('three', WORD)])
  })
})
