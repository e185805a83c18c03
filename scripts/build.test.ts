import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildPrograms, loadedAtStart } from './build.ts'

const run = promisify(execFile)
const launcher = fileURLToPath(new URL('../bin/sluice.mjs', import.meta.url))

let root = ''
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'sluice-build-')))
})
afterEach(() => rm(root, { recursive: true, force: true }))

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), text)
  }
}

const project = {
  'package.json': '{"name": "x", "version": "1.0.0", "type": "module", "optionalDependencies": {"serial": "1"}}',
  'api/common.ts': 'export const common: string = "common"\nif (import.meta.main) console.log("never")\n',
  'cli/main.ts': `import { common } from '../api/common.ts'
import { big } from 'dependency'
import { sep } from 'node:path'
const { posix } = await import('node:path')
if (sep !== posix.sep) throw new Error('not here')
const lazy = async () => (await import('./lazy.ts')).lazy
const { later } = await import('later')
if (import.meta.main) console.log(common, big, await lazy(), later(), process.argv.slice(2).join(' '))
`,
  'cli/lazy.ts': `export const lazy = await import('serial').then(() => 'there', () => 'absent')\n`,
  'agent/main.ts': `import { common } from '../api/common.ts'\nif (import.meta.main) console.log('agent', common)\n`,
  'node_modules/dependency/package.json':
    '{"name": "dependency", "version": "2.1.0", "license": "MIT", "main": "index.js"}',
  'node_modules/dependency/index.js': "exports.big = require('os').EOL === '\\n' ? 'bundled' : ''\n",
  'node_modules/later/package.json': '{"name": "later", "version": "3.0.0", "main": "index.js"}',
  'node_modules/later/index.js': "exports.later = () => 'later'\n",
  'node_modules/dependency/LICENSE': 'Do as you like.\n',
}

describe('buildPrograms', () => {
  test('makes programs that run alone, with common code shared and optional packages left outside', async () => {
    await write(project)
    const { programs, metafile } = await buildPrograms(root, join(root, 'dist'))
    expect(programs).toEqual({ sluice: 'sluice.js', agent: 'agent.js' })
    await rm(join(root, 'node_modules'), { recursive: true })
    const { stdout } = await run(process.execPath, [join(root, 'dist/sluice.js'), 'a b', 'c'])
    expect(stdout).toBe('common bundled absent later a b c\n')
    expect((await run(process.execPath, [join(root, 'dist/agent.js')])).stdout).toBe('agent common\n')
    expect((await readdir(join(root, 'dist'))).filter((name) => /-\w+\.js$/.test(name)).length).toBeGreaterThan(0)
    expect(await readFile(join(root, 'dist/LICENSES.txt'), 'utf8')).toContain(
      'dependency 2.1.0 (MIT)\n\nDo as you like.',
    )
    const atStart = loadedAtStart(metafile, 'sluice.js')
    expect([...atStart].sort()).toEqual(['api/common.ts', 'cli/main.ts', 'node_modules/dependency/index.js'])
  })

  test('keeps the last good build when a new one fails, and says what is wrong', async () => {
    await write(project)
    await buildPrograms(root, join(root, 'dist'))
    await write({ 'agent/main.ts': "import './nowhere.ts'\n" })
    await expect(buildPrograms(root, join(root, 'dist'))).rejects.toMatchObject({
      code: 'SLUICE_BUILD_FAILED',
      message: expect.stringContaining('./nowhere.ts'),
    })
    expect(await readdir(join(root, 'dist'))).toContain('agent.js')
  })

  test('takes layout and comments out of what is shipped, keeps our names and short lines, and uses the streams of Node', async () => {
    await write({
      ...project,
      'node_modules/readable-stream/index.js': 'exports.Readable = class {}\n',
      'node_modules/dependency/index.js': `const { Readable } = require('readable-stream')
${Array.from({ length: 40 }, (_, n) => `exports.part${n} = function () {\n  return ${n} + 1\n}`).join('\n')}
exports.big = Readable === require('node:stream').Readable ? 'bundled' : ''
`,
      'agent/main.ts': `const { big } = await import('dependency')\nfunction ours() {\n  return big\n}\nconsole.log(ours())\n`,
    })
    await buildPrograms(root, join(root, 'dist'))
    expect((await run(process.execPath, [join(root, 'dist/agent.js')])).stdout).toBe('bundled\n')
    const names = (await readdir(join(root, 'dist'))).filter((name) => name.endsWith('.js'))
    const texts = await Promise.all(names.map((name) => readFile(join(root, 'dist', name), 'utf8')))
    const foreign = texts.filter((text) => text.includes('Readable==='))
    expect(foreign).toHaveLength(1)
    expect(foreign[0]).toContain('part7=function(){return')
    // A stack trace names our functions, and a line of it is one that can be read.
    const own = await readFile(join(root, 'dist/agent.js'), 'utf8')
    expect(own).toContain('function ours(){return')
    expect(Math.max(...own.split('\n').map((line) => line.length))).toBeLessThan(200)
  })

  test('refuses to build without the command', async () => {
    await write({ 'package.json': '{"version": "1"}' })
    await expect(buildPrograms(root, join(root, 'dist'))).rejects.toMatchObject({ code: 'SLUICE_BUILD_FAILED' })
  })
})

describe('bin/sluice.mjs', () => {
  /** Makes the launcher believe that it runs on Node 20. */
  const old = [
    '--import',
    'data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"20.1.0"}});delete process.execve',
  ]
  const platformPackage = `node_modules/node-${process.platform}-${process.arch}`

  const install = async (folder: string) => {
    await mkdir(join(root, folder, 'bin'), { recursive: true })
    await cp(launcher, join(root, folder, 'bin/sluice.mjs'))
    return join(root, folder, 'bin/sluice.mjs')
  }

  const bringNode = async () => {
    await write({ [`${platformPackage}/package.json`]: '{"name": "node", "version": "24.0.0"}' })
    await mkdir(join(root, platformPackage, 'bin'))
    await symlink(process.execPath, join(root, platformPackage, 'bin/node'))
  }

  const echo =
    'console.log(JSON.stringify({ argv: process.argv.slice(1), exec: process.execPath }))\nprocess.exitCode = 7\n'

  test('runs the build in its own process on a Node that is new enough', async () => {
    const bin = await install('.')
    await write({ 'dist/sluice.js': echo, 'package.json': '{"type": "module"}' })
    const failed = await run(process.execPath, [bin, 'a b', '*']).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 7 })
    expect(JSON.parse((failed as { stdout: string }).stdout).argv).toEqual([join(root, 'dist/sluice.js'), 'a b', '*'])
  })

  test('hands over to the packaged Node on an old one: arguments, exit code and all', async () => {
    const bin = await install('node_modules/sluice')
    await write({
      'node_modules/sluice/dist/sluice.js': echo,
      'node_modules/sluice/package.json': '{"type": "module"}',
    })
    await bringNode()
    const failed = await run(process.execPath, [...old, bin, 'a b', '$HOME']).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 7 })
    const { argv } = JSON.parse((failed as { stdout: string }).stdout)
    expect(argv).toEqual([join(root, 'node_modules/sluice/dist/sluice.js'), 'a b', '$HOME'])
  })

  test('passes signals on and dies as its child does', async () => {
    const bin = await install('.')
    await write({
      'dist/sluice.js': `process.on('SIGINT', () => { console.log('asked'); process.kill(process.pid, 'SIGKILL') })
setInterval(() => {}, 1000)
console.log('ready')
`,
      'package.json': '{"type": "module"}',
    })
    await bringNode()
    const child = spawn(process.execPath, [...old, bin], { stdio: ['ignore', 'pipe', 'pipe'] })
    const said: string[] = []
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said.push(text)
      if (text.includes('ready')) child.kill('SIGINT')
    })
    const [, signal] = await once(child, 'close')
    expect(said.join('')).toBe('ready\nasked\n')
    expect(signal).toBe('SIGKILL')
  })

  // On Linux by the kernel (setpriv of util-linux); elsewhere an old Node can do nothing about it.
  test.runIf(process.platform === 'linux').each([
    ['an old Node', old],
    ['a new one', []],
  ])('leaves nothing behind when it is killed outright on %s', async (_, flags) => {
    const bin = await install('.')
    // As the sources are, and become another program, as the agent does.
    const next = `console.log('ready', process.pid);setInterval(() => {}, 1000)`
    await write({
      'cli/main.ts': `process.execve(process.execPath, [process.execPath, '-e', ${JSON.stringify(next)}], process.env)\n`,
      'package.json': '{"type": "module"}',
    })
    await bringNode()
    const child = spawn(process.execPath, [...flags, bin], { stdio: ['ignore', 'pipe', 'ignore'] })
    child.stdout.setEncoding('utf8')
    const [said] = (await once(child.stdout, 'data')) as [string]
    const pid = Number(/^ready (\d+)$/m.exec(said)?.[1])
    expect(pid === child.pid).toBe(flags.length === 0)
    child.kill('SIGKILL')
    // Its output ends when nobody is left who could write to it: a program that stays makes this wait for ever.
    await once(child, 'close')
  })

  test('prefers sources in a checkout, but never below node_modules', async () => {
    await write({
      'cli/main.ts': 'const text: string = "sources"\nconsole.log(text)\n',
      'package.json': '{"type": "module"}',
    })
    await write({ 'dist/sluice.js': 'console.log("build")\n' })
    expect((await run(process.execPath, [await install('.')])).stdout).toBe('sources\n')
    await cp(join(root, 'cli'), join(root, 'node_modules/sluice/cli'), { recursive: true })
    await cp(join(root, 'dist'), join(root, 'node_modules/sluice/dist'), { recursive: true })
    await write({ 'node_modules/sluice/package.json': '{"type": "module"}' })
    expect((await run(process.execPath, [await install('node_modules/sluice')])).stdout).toBe('build\n')
  })

  test.each([
    ['there is nothing to run', [], /neither .*main\.ts nor .*sluice\.js is there\n {2}hint: /],
    ['no Node is new enough', old, /this is Node 20\.1\.0; Sluice needs 24 or newer.*\n {2}hint: Install Node 24/],
  ])('says what to do when %s', async (_, flags, words) => {
    const bin = await install('.')
    if (flags.length > 0) await write({ 'dist/sluice.js': '' })
    const failed = await run(process.execPath, [...flags, bin]).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(words) })
  })
})
