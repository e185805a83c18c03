import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../api/errors.ts'
import { readArguments } from './arguments.ts'
import { defineVerb, EXIT } from './verb.ts'

const verb = defineVerb({
  name: 'sample',
  summary: '',
  positionals: { usage: 'DEVICE [PROPERTY]', min: 1, max: 2 },
  options: {
    wait: { kind: 'duration', default: '10s', value: 'TIME', help: '' },
    port: { kind: 'port', help: '' },
    count: { kind: 'count', short: 'c', help: '' },
    file: { kind: 'text', value: 'FILE', repeatable: true, help: '' },
    force: { kind: 'flag', help: '' },
  },
  examples: [],
  run: async () => EXIT.ok,
})

const codeOf = (argv: string[]): string => {
  try {
    readArguments(verb, argv)
  } catch (error) {
    if (error instanceof SluiceError) return `${error.code} | ${error.message} | ${error.hint}`
    throw error
  }
  return 'none'
}

describe('readArguments', () => {
  it('gives durations in milliseconds, ports and counts as numbers, repeated texts as a list', () => {
    const { options, args } = readArguments(verb, [
      'meter-1',
      '--wait=1.5s',
      '--port',
      '0',
      '-c',
      '3',
      '--file',
      'a',
      '--file=b',
    ])
    expect(options).toMatchObject({ wait: 1500, port: 0, count: 3, file: ['a', 'b'], force: false })
    expect(args).toEqual(['meter-1'])
  })

  it('falls back to defaults and leaves the rest undefined', () => {
    const { options } = readArguments(verb, ['meter-1', '--force'])
    expect(options).toMatchObject({ wait: 10_000, port: undefined, count: undefined, file: [], force: true })
  })

  it('names the option that was probably meant', () => {
    expect(codeOf(['x', '--wiat', '3s'])).toContain("'--wiat' | Did you mean '--wait'?")
  })

  it('tells a missing value from a wrong one', () => {
    expect(codeOf(['x', '--wait'])).toBe("SLUICE_CLI_OPTION_VALUE | Option '--wait' needs a value | Write --wait TIME.")
    expect(codeOf(['x', '--wait', '--force'])).toContain('needs a value')
    expect(codeOf(['x', '--wait', '5'])).toContain("does not take '5'")
    expect(codeOf(['x', '--port', '65536'])).toContain('Write a port from 0 to 65535')
    expect(codeOf(['x', '--count', '-1'])).toContain('needs a value')
    expect(codeOf(['x', '--force=yes'])).toContain('takes no value')
  })

  it('refuses too few and too many arguments', () => {
    expect(codeOf([])).toContain("'sluice sample' needs DEVICE [PROPERTY]")
    expect(codeOf(['a', 'b', 'c'])).toContain("does not know what to do with 'c'")
  })

  it('asks for no arguments when only help is wanted', () => {
    expect(readArguments(verb, ['--help']).globals.help).toBe(true)
  })

  it('takes everything after -- as it is', () => {
    expect(readArguments(verb, ['--', '--odd', '-x']).args).toEqual(['--odd', '-x'])
  })

  it('never fails with anything but a typed error', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 6 }), (argv) => {
        expect(codeOf(argv)).toMatch(/^(none|SLUICE_CLI_)/)
      }),
    )
  })
})
