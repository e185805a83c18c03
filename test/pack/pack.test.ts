import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/**
 * What a stranger gets: the packed tarball, installed by npm into an empty folder, run by the Node that this machine
 * has (bin/sluice.mjs finds the pinned one where that is too old).
 */
const run = promisify(execFile)
const repository = fileURLToPath(new URL('../..', import.meta.url))
const INSTALL_TIMEOUT_MS = 240_000

/** The environment of somebody who has never been in this repository: none of its programs, none of npm's variables. */
const strangers = (): NodeJS.ProcessEnv => {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|SLUICE_|NODE_|VITEST|VITE_)/.test(name))
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'))
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter) }
}

let home = ''
let installed = ''

beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'sluice-pack-')))
  await run('npm', ['pack', '--pack-destination', home], { cwd: repository, env: strangers() })
  const [tarball] = (await readdir(home)).filter((name) => name.endsWith('.tgz'))
  if (tarball === undefined) throw new Error('npm pack made no tarball')
  await writeFile(join(home, 'package.json'), '{"name": "stranger", "private": true}')
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...options, join(home, tarball)], { cwd: home, env: strangers() })
  installed = join(home, 'node_modules', 'sluice')
}, INSTALL_TIMEOUT_MS)

afterAll(() => rm(home, { recursive: true, force: true }))

/** Runs the installed command from the folder it was installed into; a failure carries what it wrote. */
const sluice = (...args: string[]) =>
  run(join(home, 'node_modules', '.bin', 'sluice'), args, { cwd: home, env: strangers(), maxBuffer: 64 * 1024 * 1024 })

const lastJson = (text: string): Record<string, unknown> => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as never

describe('the packed package', () => {
  test('carries programs and no sources, and needs no JavaScript package of others', async () => {
    const files = await readdir(installed, { recursive: true })
    expect(files.filter((name) => name.endsWith('.ts') && !name.startsWith('demo'))).toEqual([])
    expect(files).toContain(join('dist', 'LICENSES.txt'))
    const { dependencies = {} } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    expect(Object.keys(dependencies)).toEqual([])
  })

  test('says how it is used', async () => {
    const { stdout } = await sluice('--help')
    expect(stdout).toContain('sluice up')
  })

  test('prints the definitions of its kinds', async () => {
    const { stdout } = await sluice('crds')
    expect(stdout.match(/^kind: CustomResourceDefinition$/gm)?.length).toBeGreaterThanOrEqual(3)
    expect(stdout).toContain('devices.sluice.dev')
  })

  test('examines the machine', async () => {
    // It exits with a failure where a check fails, which says something about the machine and not about the package.
    const { stdout } = await sluice('doctor', '--json').catch((failure: { stdout: string }) => failure)
    expect(stdout.trim()).not.toBe('')
    for (const line of stdout.trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow()
  })

  test('runs the plant, the cloud core and the agent, and ends by itself', { timeout: 120_000 }, async () => {
    const { stdout } = await sluice('up', '--demo', '--for', '8s', '--json', '--data', join(home, 'data'))
    const summary = lastJson(stdout)
    expect(summary).toMatchObject({ ok: true, drops: 0 })
    expect(summary['devices']).toBeGreaterThanOrEqual(2)
    expect(summary['values']).toBeGreaterThan(10)
  })
})
