#!/usr/bin/env node
// The `sluice` command. Runs on any Node from 20 on and without a dependency: it finds a Node that Sluice can run on
// (24 or newer; a prebuilt one comes with the package) and hands over to it.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NEEDED_MAJOR = 24
const here = fileURLToPath(import.meta.url)
const root = join(dirname(here), '..')
const args = process.argv.slice(2)

function fail(message, hint) {
  process.stderr.write(`sluice: ${message}\n  hint: ${hint}\n`)
  process.exit(1)
}

/** The sources where they can run (Node strips no types below node_modules), else the build. */
function findProgram() {
  const source = join(root, 'cli', 'main.ts')
  const built = join(root, 'dist', 'sluice.js')
  if (existsSync(source) && !source.includes(`${sep}node_modules${sep}`)) return { file: source, built: false }
  if (existsSync(built)) return { file: built, built: true }
  return fail(`neither ${source} nor ${built} is there`, 'Install the package once more, or run: npm run build')
}

/** A Node that is new enough: this one, or the one of the platform package beside us. */
function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= NEEDED_MAJOR) return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  try {
    const node = join(dirname(createRequire(here).resolve(`${name}/package.json`)), 'bin', 'node')
    if (existsSync(node)) return node
  } catch {
    // Not installed; said below.
  }
  return fail(
    `this is Node ${process.versions.node}; Sluice needs ${NEEDED_MAJOR} or newer, and the package ${name} is not installed`,
    `Install Node ${NEEDED_MAJOR}, or reinstall without --omit=optional.`,
  )
}

/** Whether a child can be started that gets SIGTERM when this process ends: by setpriv of util-linux, on any Debian. */
function tiedToParent() {
  if (process.platform !== 'linux') return false
  const { stdout } = spawnSync('setpriv', ['--help'], { encoding: 'utf8' })
  return stdout?.includes('--pdeathsig') ?? false
}

function handOver(node, file) {
  // Sources are compiled once and not at every command; where the folder cannot be written Node goes on without it.
  const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'), ...process.env }
  // One process is less to keep, and what kills this one kills the program.
  if (process.platform !== 'win32') process.execve?.(node, [node, file, ...args], env)
  // An old Node cannot. Killed outright it tells its child nothing; the kernel does, through every program it becomes.
  const [command, ...before] = tiedToParent() ? ['setpriv', '--pdeathsig', 'TERM', '--', node] : [node]
  const child = spawn(command, [...before, file, ...args], { stdio: 'inherit', env })
  // A terminal sends its signals to the whole group, so the child has them already; a second one would mean "at once".
  const terminal = Boolean(process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY)
  const forward = (signal) => child.kill(signal)
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT']) process.on(signal, terminal ? () => {} : forward)
  for (const signal of ['SIGTERM', 'SIGUSR2']) process.on(signal, forward)
  child.on('error', (error) =>
    fail(`${node} does not start: ${error.message}`, `Install Node ${NEEDED_MAJOR} or newer.`),
  )
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    // Die of the same signal, so that whoever waits for us sees what happened.
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
    process.exit(128 + (constants.signals[signal] ?? 0))
  })
}

const program = findProgram()
const node = findNode()
if (program.built && node === process.execPath) {
  process.argv[1] = program.file
  await import(pathToFileURL(program.file).href)
} else handOver(node, program.file)
