import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { age, clip, displayWidth, nearest, padEnd, padStart, printable, table, wrap } from './text.ts'

describe('displayWidth', () => {
  it('counts columns, not code units', () => {
    expect(displayWidth('abc')).toBe(3)
    expect(displayWidth('äöü°')).toBe(4)
    expect(displayWidth('e\u0301')).toBe(1)
    expect(displayWidth('電圧')).toBe(4)
    expect(displayWidth('👩‍🔧')).toBe(2)
  })

  it('counts colour codes as nothing', () => {
    expect(displayWidth('\x1b[31mred\x1b[39m')).toBe(3)
  })
})

describe('printable', () => {
  it('leaves no control character that a terminal would obey', () => {
    expect(printable('a\x1b[2Jb\x07')).toBe('a�[2Jb�')
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/[\p{Cc}\u202e]/u.test(printable(text))))
  })
})

describe('clip', () => {
  it('never gets wider than asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
        expect(displayWidth(clip(printable(text), width))).toBeLessThanOrEqual(width)
      }),
    )
  })

  it('leaves alone what fits', () => {
    expect(clip('12345', 5)).toBe('12345')
    expect(clip('123456', 5)).toBe('1234…')
  })
})

describe('table', () => {
  const columns = [{ title: 'A' }, { title: 'B', align: 'right' as const }, { title: 'C', flexible: true }]

  it('aligns its columns', () => {
    expect(
      table(
        columns,
        [
          ['x', '1', 'long words here'],
          ['yy', '100', 'z'],
        ],
        60,
      ),
    ).toEqual(['A     B  C', 'x     1  long words here', 'yy  100  z'])
  })

  it('shortens what may be shortened and keeps within the width', () => {
    const lines = table(columns, [['x', '1', 'long words here and more of them']], 20)
    expect(lines[1]).toBe('x  1  long words he…')
    for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(20)
  })
})

describe('padding', () => {
  it('fills to columns whatever the text is made of', () => {
    expect(padEnd('°C', 4)).toBe('°C  ')
    expect(padStart('電', 4)).toBe('  電')
  })
})

describe('wrap', () => {
  it('breaks between words', () => {
    expect(wrap('one two three four', 9, ' ')).toEqual([' one two', ' three', ' four'])
  })
})

describe('age', () => {
  it('takes the unit that says most in least', () => {
    expect([0, 1500, 99_999, 100_000, 7_200_000, 400_000_000].map(age)).toEqual(['0s', '1s', '99s', '1m', '2h', '4d'])
  })
})

describe('nearest', () => {
  it('finds what was meant', () => {
    expect(nearest('devise', ['device', 'doctor', 'up'])).toEqual(['device'])
    expect(nearest('jsno', ['json', 'data'])).toEqual(['json'])
    expect(nearest('xyz', ['device', 'doctor'])).toEqual([])
  })
})
