import { describe, expect, test } from 'vitest'
import type { LocatedFinding } from './read.ts'
import { fieldText, findingsJson, formatFindings, summary } from './report.ts'

const finding = (rest: Partial<LocatedFinding> = {}): LocatedFinding => ({
  severity: 'error',
  code: 'SLUICE_INVALID_VALUE',
  message: '"readwrit" is not one of read, readwrite, write',
  hint: "Did you mean 'readwrite'?",
  path: ['spec', 'properties', 2, 'access'],
  file: 'plant.yaml',
  line: 2,
  column: 11,
  ...rest,
})

const source = (text: string) => ({ sources: new Map([['plant.yaml', text]]) })

describe('formatFindings', () => {
  test('prints place, code, field, the line with a mark under the culprit, and the remedy', () => {
    expect(formatFindings([finding()], source('- name: a\n  access: readwrit # oops\n'))).toBe(
      `plant.yaml:2:11 error SLUICE_INVALID_VALUE: spec.properties[2].access: "readwrit" is not one of read, readwrite, write
  2 |   access: readwrit # oops
    |           ^^^^^^^^
  hint: Did you mean 'readwrite'?

1 error`,
    )
  })

  test('marks a quoted text whole and a bracket once', () => {
    expect(formatFindings([finding()], source('\n          "a b", c'))).toContain('           ^^^^^\n')
    expect(formatFindings([finding()], source('\n          [a, b]'))).toContain('           ^\n')
  })

  test('does without the text of the file', () => {
    expect(formatFindings([finding({ line: 99 })], source('a'))).not.toContain('|')
    expect(formatFindings([finding()])).not.toContain('|')
  })

  test('cuts a long line around the culprit', () => {
    const text = formatFindings([finding({ column: 5000 })], source(`\n${'x'.repeat(4999)}Y${'z'.repeat(5000)}`))
    const [, line, mark] = text.split('\n')
    expect(line!.length).toBeLessThan(130)
    expect(line!.indexOf('Y')).toBe(mark!.indexOf('^'))
  })

  test('keeps control characters of a file off the terminal', () => {
    const text = formatFindings(
      [finding({ message: 'a\u001b[31mb\u202e', file: 'plant.yaml' })],
      source('\n  \u001b]0;owned\u0007 x\u009b'),
    )
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\u202e/u)
  })

  test('colours only when asked to', () => {
    expect(formatFindings([finding()])).not.toContain('\u001b')
    expect(formatFindings([finding()], { colour: true })).toContain('\u001b[31merror\u001b[0m')
  })

  test('is empty without findings', () => {
    expect(formatFindings([])).toBe('')
  })
})

test('summary counts errors and warnings', () => {
  const warning = finding({ severity: 'warning' })
  expect(summary([])).toBe('')
  expect(summary([warning])).toBe('1 warning')
  expect(summary([finding(), finding(), warning])).toBe('2 errors and 1 warning')
})

test('fieldText writes a path as one would in code', () => {
  expect(fieldText(['spec', 'properties', 2, 'flow rate', 'a-b'])).toBe('spec.properties[2]["flow rate"].a-b')
  expect(fieldText([])).toBe('')
})

test('findingsJson has one flat record a finding', () => {
  expect(findingsJson([finding({ object: 'Device plant/a' })])).toEqual({
    errors: 1,
    warnings: 0,
    findings: [
      {
        file: 'plant.yaml',
        line: 2,
        column: 11,
        severity: 'error',
        code: 'SLUICE_INVALID_VALUE',
        field: 'spec.properties[2].access',
        message: '"readwrit" is not one of read, readwrite, write',
        hint: "Did you mean 'readwrite'?",
        object: 'Device plant/a',
      },
    ],
  })
})
