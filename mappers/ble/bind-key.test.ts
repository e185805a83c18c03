import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readBindKey } from './bind-key.ts'

const KEY = '231d39c1d7cc1ab1aee224cd096db932'
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-key-'))
})
afterEach(() => rm(folder, { recursive: true }))

it('reads a key from a file, whatever white space ends it', async () => {
  const file = join(folder, 'key')
  await writeFile(file, `${KEY}\n`)
  expect(Buffer.from((await readBindKey({ file })) as Uint8Array).toString('hex')).toBe(KEY)
})

it('says what is wrong with the file and nothing of what is in it', async () => {
  const file = join(folder, 'key')
  await writeFile(file, `${KEY}00`)
  const wrong = await readBindKey({ file })
  expect(wrong).toMatchObject({ problem: expect.stringContaining('32 hex digits') })
  expect(JSON.stringify(wrong)).not.toContain(KEY.slice(0, 8))
  expect(await readBindKey({ file: join(folder, 'none') })).toMatchObject({
    problem: expect.stringContaining('ENOENT'),
  })
})
