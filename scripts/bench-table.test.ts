import { describe, expect, test } from 'vitest'
import { between, merged, readFigures, renderFigures } from './bench-table.ts'

const line = (figure: string, more: object = {}) =>
  JSON.stringify({ bench: 'b', figure, value: 1234.567, unit: 'ms', ok: true, ...more })

describe('the table of figures', () => {
  test('takes the later of two figures of one name and leaves other lines alone', () => {
    const figures = readFigures(
      ['-- b', line('x', { value: 1 }), 'noise', line('x', { value: 2 }), line('y')].join('\n'),
    )
    expect(figures.map(({ figure, value }) => [figure, value])).toEqual([
      ['x', 2],
      ['y', 1234.567],
    ])
  })

  test('says what was measured beside what, and whether the budget was kept', () => {
    const kept = line('x', { peer: 'the limit', ratio: 0.98765, budget: '>= 0.95 of peer' })
    const missed = line('y|z', { budget: '<= 5', ok: false })
    const text = renderFigures(readFigures(`${kept}\n${missed}`))
    expect(text).toContain('| x | 1,235 ms | the limit (ratio 0.9877) | >= 0.95 of peer: kept |')
    expect(text).toContain('| y\\|z | 1,235 ms |  | <= 5: **missed** |')
  })

  test('replaces what was measured again and keeps what was not', () => {
    const section = (bench: string, value: number) =>
      renderFigures(readFigures(JSON.stringify({ bench, figure: 'x', value, unit: 'ms', ok: true })))
    const readme = between(
      '<!-- figures: begin --><!-- figures: end -->',
      `Taken.\n\n${section('c', 1)}\n${section('a', 2)}`,
    )
    const text = merged(readme, section('b', 3) + section('a', 4))
    expect([...text.matchAll(/### (\w)[^#]*\| x \| (\d) ms/g)].map(([, name, value]) => `${name}${value}`)).toEqual([
      'a4',
      'b3',
      'c1',
    ])
  })

  test('goes between its marks and nowhere else', () => {
    const readme = 'before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n'
    expect(between(readme, 'new\n')).toBe('before\n<!-- figures: begin -->\n\nnew\n\n<!-- figures: end -->\nafter\n')
    expect(() => between('nothing', 'new')).toThrow('no place for figures')
  })
})
