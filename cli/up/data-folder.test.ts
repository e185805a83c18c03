import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeDataFolder } from './data-folder.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-folder-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('makes the data folder for its owner alone, with the folders above it', () => {
  makeDataFolder(join(folder, 'a/b'))
  expect(statSync(join(folder, 'a/b')).mode & 0o777).toBe(0o700)
  makeDataFolder(join(folder, 'a/b'))
})

it.each(['file', 'file/below'])('says what is in the way of %s and what to do', (path) => {
  writeFileSync(join(folder, 'file'), '')
  expect(() => makeDataFolder(join(folder, path))).toThrowError(
    expect.objectContaining({
      code: 'SLUICE_CLI_DATA_FOLDER',
      message: expect.stringContaining('a file is in its place'),
    }),
  )
})
