import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readSecretFile } from './secret-file.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-secret-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const write = (text: string, mode: number) => {
  const path = join(folder, 'secret')
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

it('reads what only its owner may read', () => {
  expect(readSecretFile(write('hush', 0o600))).toBe('hush')
  expect(readSecretFile(write('hush', 0o400))).toBe('hush')
})

it.each([0o640, 0o644, 0o604, 0o660, 0o601])(
  'refuses a file that others may use (%o), and says how to mend it',
  (mode) => {
    expect(() => readSecretFile(write('hush', mode))).toThrow(/mode 0\d{3}\); say chmod 600/)
  },
)

it('refuses folders, long files and what is not there, without a word of what is in them', () => {
  mkdirSync(join(folder, 'sub'), { mode: 0o700 })
  expect(() => readSecretFile(join(folder, 'sub'))).toThrow('no regular file')
  expect(() => readSecretFile(write('x'.repeat(4097), 0o600))).toThrow('longer than 4096 bytes')
  expect(() => readSecretFile(join(folder, 'none'))).toThrow('ENOENT')
})
