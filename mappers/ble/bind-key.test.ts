import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readBindKey, readPasskey } from './bind-key.ts'

const KEY = '231d39c1d7cc1ab1aee224cd096db932'
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-key-'))
})
afterEach(() => rm(folder, { recursive: true }))

it('reads a key from a file, whatever white space ends it', async () => {
  const file = join(folder, 'key')
  await writeFile(file, `${KEY}\n`, { mode: 0o600 })
  expect(Buffer.from((await readBindKey({ file })) as Uint8Array).toString('hex')).toBe(KEY)
})

it('says what is wrong with the file and nothing of what is in it', async () => {
  const file = join(folder, 'key')
  await writeFile(file, `${KEY}00`, { mode: 0o600 })
  const wrong = await readBindKey({ file })
  expect(wrong).toMatchObject({ problem: expect.stringContaining('32 hex digits') })
  expect(JSON.stringify(wrong)).not.toContain(KEY.slice(0, 8))
  expect(await readBindKey({ file: join(folder, 'none') })).toMatchObject({
    problem: expect.stringContaining('ENOENT'),
  })
})

it('reads a passkey of six digits, leading zeros and all, and nothing else', async () => {
  const file = join(folder, 'passkey')
  await writeFile(file, '012345\n', { mode: 0o600 })
  expect(await readPasskey(file)).toBe(12345)
  await writeFile(file, '12345')
  const wrong = await readPasskey(file)
  expect(wrong).toMatchObject({ problem: expect.stringContaining('six digits') })
  expect(JSON.stringify(wrong)).not.toContain('12345')
})
