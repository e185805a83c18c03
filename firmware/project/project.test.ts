import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { readIfThere, writeWhole } from './files.ts'
import { projectOf } from './project.ts'
import { projectTemplate } from './template.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-project-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('sluice-fw.yaml', () => {
  it('says what a project is, with what nobody wrote filled in', () => {
    expect(projectOf('/x/My Greenhouse', projectTemplate('rp2040'))).toMatchObject({
      name: 'my-greenhouse',
      board: 'rp2040',
      model: '/x/My Greenhouse/model.yaml',
      version: { major: 0, minor: 1, revision: 0 },
      line: { baud: 115_200, parity: 'none', stopBits: 1, shared: false },
      update: true,
    })
    expect(projectOf('/x', 'board: host\nbudget: {flash: 24K}').budget).toEqual({ flashBytes: 24_576 })
  })

  it('of any text is a project or refused with its place', () => {
    const keys = fc.constantFrom('board', 'line', 'unit', 'version', 'properties', 'gateway', 'budget', 'update', 'zzz')
    const yaml = fc.dictionary(keys, fc.jsonValue()).map((value) => JSON.stringify(value))
    fc.assert(
      fc.property(fc.oneof(yaml, fc.string({ unit: 'binary' })), (text) => {
        try {
          expect(projectOf('/x', text).board).not.toBe('')
        } catch (error) {
          expect(error).toMatchObject({ code: 'SLUICE_FW_PROJECT_INVALID', position: { file: '/x/sluice-fw.yaml' } })
        }
      }),
    )
  })
})

describe('a file of a project', () => {
  it('is written whole, or what was there before stays', () => {
    const path = join(folder, 'some', 'file')
    writeWhole(path, 'one')
    writeWhole(path, 'two')
    expect(readFileSync(path, 'utf8')).toBe('two')
    expect(readdirSync(join(folder, 'some'))).toEqual(['file'])
    writeFileSync(join(folder, 'plain'), '')
    expect(() => writeWhole(join(folder, 'plain', 'below'), 'x')).toThrow(
      expect.objectContaining({ code: 'SLUICE_FW_FILE' }),
    )
    expect(readIfThere(join(folder, 'nowhere'))).toBeUndefined()
    expect(existsSync(join(folder, 'nowhere'))).toBe(false)
  })
})
