import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readCsv } from './csv.ts'

const cells = (text: string) => readCsv(text).rows.map((row) => row.cells)

describe('readCsv', () => {
  it('reads quotes, separators and line breaks inside them, and counts lines', () => {
    const { rows, problems } = readCsv('name,note\r\na,"x, ""y""\nz"\r\n\r\n# a remark\nb,\n')
    expect(problems).toEqual([])
    expect(rows).toEqual([
      { line: 1, cells: ['name', 'note'] },
      { line: 2, cells: ['a', 'x, "y"\nz'] },
      { line: 6, cells: ['b', ''] },
    ])
  })

  it('takes what spreadsheets write: a byte order mark, semicolons, tabs', () => {
    expect(cells('\ufeffname;unit\na;1,5')).toEqual([
      ['name', 'unit'],
      ['a', '1,5'],
    ])
    expect(cells('name\tunit\na\t1')).toEqual([
      ['name', 'unit'],
      ['a', '1'],
    ])
  })

  it('tells a quote that is never closed and text after one that is', () => {
    expect(readCsv('a,b\n"x,1\n').problems).toEqual([{ line: 2, message: 'a quote is never closed' }])
    expect(readCsv('a,b\n"x"y,1\n').problems).toEqual([{ line: 2, message: "'y' stands after a closing quote" }])
  })

  it('reads back whatever cells were quoted', () => {
    const table = fc.array(fc.array(fc.string(), { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(table, (rows) => {
        const written = rows.map((row) => ['k', ...row])
        const text = written.map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')).join('\n')
        // The separator is guessed from the first line, whatever is inside its quotes.
        expect(cells(`h,h,h,h,h,h,h,h\n${text}`).slice(1)).toEqual(written)
      }),
    )
  })

  it('takes any text without throwing, and its lines only grow', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', ',', ';', '"', '\n', '\r', '\t', '#', ' ') }), (text) => {
        const lines = readCsv(text).rows.map(({ line }) => line)
        expect(lines).toEqual([...lines].sort((a, b) => a - b))
      }),
    )
  })
})
