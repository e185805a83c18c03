import { describe, expect, it } from 'vitest'
import { runCommand } from './main.ts'
import { EXIT } from './verb.ts'
import { ALL_VERBS } from './verbs.ts'

async function run(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const code = await runCommand(argv, {
    stdout: { write: (text) => (stdout += text), columns: 100 },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    signal: new AbortController().signal,
  })
  return { code, stdout, stderr }
}

describe('sluice help', () => {
  it('lists every verb and the exit codes', async () => {
    const { code, stdout } = await run('help')
    expect(code).toBe(EXIT.ok)
    for (const verb of ALL_VERBS) expect(stdout).toContain(verb.name)
    expect(stdout).toContain('Exit codes')
    expect(stdout).not.toContain('\x1b[')
  })

  it.each(ALL_VERBS.map((verb) => verb.name))('has usage, options and examples for %s', async (name) => {
    const [byHelp, byOption] = await Promise.all([run('help', ...name.split(' ')), run(...name.split(' '), '--help')])
    expect(byHelp).toEqual(byOption)
    expect(byHelp.code).toBe(EXIT.ok)
    expect(byHelp.stdout).toContain(`  sluice ${name}`)
    const examples = byHelp.stdout.slice(byHelp.stdout.indexOf('\nExamples\n'), byHelp.stdout.indexOf('\nExit codes\n'))
    expect(examples).toMatch(new RegExp(`^ {2}.*sluice ${name}`, 'm'))
    for (const line of byHelp.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
    expect(byHelp.stdout).not.toMatch(/(Default [^ ]+\.)\s+\1/)
  })

  it('says the same in the table of verbs and in the verb itself', async () => {
    for (const entry of ALL_VERBS) {
      const verb = await entry.load()
      expect({ name: verb.name, summary: verb.summary }).toEqual({ name: entry.name, summary: entry.summary })
    }
  })

  it('shows the members of a group within a group', async () => {
    for (const words of [
      ['fw', 'key'],
      ['fw', 'key', '--help'],
      ['help', 'fw', 'key'],
    ]) {
      const { code, stdout } = await run(...words)
      expect(code).toBe(EXIT.ok)
      expect(stdout).toContain('fw key rotate')
      expect(stdout).not.toContain('fw sign')
    }
    expect(await run('fw', 'key', 'nw')).toMatchObject({ code: EXIT.usage, stdout: '' })
  })

  it('shows the members of a group', async () => {
    const { stdout, code } = await run('device')
    expect(code).toBe(EXIT.ok)
    expect(stdout).toContain('device watch')
    expect(stdout).not.toContain('doctor')
  })
})

describe('a wrong command line', () => {
  it.each([
    [['devise', 'ls'], "Did you mean 'sluice device'"],
    [['device', 'lst'], "'sluice device ls'"],
    [['ls'], "'sluice device ls'"],
    [['device', 'ls', '--jsn'], "Did you mean '--json'?"],
    [['--data', 'x', 'device', 'ls'], 'The verb comes first'],
    [['help', 'nothing'], "'sluice help' lists every verb"],
  ])('%j ends with 2 and a hint', async (argv, hint) => {
    const { code, stderr, stdout } = await run(...argv)
    expect(code).toBe(EXIT.usage)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^error SLUICE_CLI_[A-Z_]+: /)
    expect(stderr).toContain(hint)
  })

  it('is told as JSON when JSON was asked for', async () => {
    const { code, stderr } = await run('model', 'lint', '--json')
    expect(code).toBe(EXIT.usage)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'SLUICE_CLI_ARGUMENTS', hint: expect.any(String) } })
  })
})

describe('a device verb without anything running', () => {
  it('ends with 3 and says how to start it', async () => {
    const { code, stderr } = await run('device', 'ls', '--data', '/nonexistent/sluice')
    expect(code).toBe(EXIT.unreachable)
    expect(stderr).toContain('SLUICE_CLIENT_UNREACHABLE')
    expect(stderr).toContain("'sluice up'")
  })
})

describe('sluice --version', () => {
  it('prints the package version', async () => {
    expect((await run('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
