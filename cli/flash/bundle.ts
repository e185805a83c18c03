import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, readdir, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SluiceError } from '../../api/errors.ts'
import type { BundleOnCard } from './settings.ts'

/**
 * A bundle is everything a gateway needs to run Sluice without fetching anything: `node_modules/` with the package, the
 * Node of its platform package and the native parts, as one .tar.gz.
 */

export const BUNDLE_ARCHITECTURES = ['arm64', 'x64'] as const
type Architecture = (typeof BUNDLE_ARCHITECTURES)[number]

export function parseArchitecture(text: string): Architecture {
  const found = BUNDLE_ARCHITECTURES.find((each) => each === text)
  if (found !== undefined) return found
  throw new SluiceError('SLUICE_FLASH_SETTING_INVALID', `There is no Node for '${text}'`, {
    hint: `Give ${BUNDLE_ARCHITECTURES.join(' or ')}; a Raspberry Pi 3 or newer with a 64-bit system is arm64.`,
  })
}

const MAX_BUNDLE_BYTES = 400 * 1024 * 1024
const NPM_TIMEOUT_MS = 300_000
const TAR_TIMEOUT_MS = 120_000
const MAX_TEXT_BYTES = 16 * 1024 * 1024

/** Reads a bundle and makes sure that it is one. Throws SLUICE_CLI_FILE or SLUICE_FLASH_BUNDLE. */
export async function readBundle(path: string, signal: AbortSignal): Promise<BundleOnCard> {
  let content: Buffer
  try {
    if (statSync(path).size > MAX_BUNDLE_BYTES) throw badBundle(path, 'it is far too large')
    content = readFileSync(path)
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `The bundle '${path}' cannot be read (${reason})`, {
      hint: 'Make one: sluice flash bundle --arch arm64 -o FILE',
      cause,
    })
  }
  const names = new Set((await run('tar', ['--list', '--gzip', '--file', path], signal, TAR_TIMEOUT_MS)).split('\n'))
  const has = (name: string) => names.has(name) || names.has(`./${name}`)
  if (!has('node_modules/sluice/bin/sluice.mjs')) throw badBundle(path, 'it does not hold the package')
  if (!BUNDLE_ARCHITECTURES.some((arch) => has(`node_modules/node-linux-${arch}/bin/node`))) {
    throw badBundle(path, 'it holds no Node')
  }
  return { content, sha256: createHash('sha256').update(content).digest('hex') }
}

/** Root of the package that runs. */
export const packageRoot = (): string => {
  const here = fileURLToPath(import.meta.url)
  return fileURLToPath(new URL(here.endsWith('.ts') ? '../../' : '../', import.meta.url))
}

/**
 * Packs the package that runs and has npm install it for another machine, without running any script; npm asks the
 * registry it is configured for, if it has not the parts already. Throws SLUICE_FLASH_BUNDLE.
 */
export async function makeBundle(
  out: string,
  arch: Architecture,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'sluice-bundle-')))
  try {
    say('packing ...')
    // A checkout is built by it; what is installed is built already and has nothing to build with.
    const built = existsSync(join(packageRoot(), 'cli', 'main.ts')) ? [] : ['--ignore-scripts']
    await run('npm', ['pack', '--pack-destination', folder, ...built], signal, NPM_TIMEOUT_MS, packageRoot())
    const [tarball] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'))
    if (tarball === undefined) throw badBundle(out, 'npm pack made nothing')
    await writeFile(join(folder, 'package.json'), '{"name": "sluice-bundle", "private": true}\n')
    say(`installing for linux-${arch} ...`)
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
    const target = ['--os=linux', `--cpu=${arch}`, '--libc=glibc']
    await run('npm', ['install', ...options, ...target, join(folder, tarball)], signal, NPM_TIMEOUT_MS, folder)
    await prune(join(folder, 'node_modules'), arch)
    if (!existsSync(join(folder, 'node_modules', `node-linux-${arch}`, 'bin', 'node'))) {
      throw badBundle(out, `npm found no package node-linux-${arch}`)
    }
    say('compressing ...')
    const partial = `${out}.partial`
    const order = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0']
    const argv = ['--create', '--gzip', '--file', partial, ...order, '--directory', folder, 'node_modules']
    await run('tar', argv, signal, TAR_TIMEOUT_MS)
    await rename(partial, out)
  } finally {
    await rm(folder, { recursive: true, force: true })
    await rm(`${out}.partial`, { force: true })
  }
}

/** Takes out what no gateway runs: headers and manuals of Node, prebuilt parts for other machines. */
async function prune(modules: string, arch: Architecture): Promise<void> {
  const node = join(modules, `node-linux-${arch}`)
  for (const name of ['include', 'share', 'CHANGELOG.md', 'README.md']) {
    await rm(join(node, name), { recursive: true, force: true })
  }
  for (const path of await readdir(modules, { recursive: true, withFileTypes: true })) {
    const isPrebuilt = path.isDirectory() && path.parentPath.endsWith('/prebuilds')
    if (isPrebuilt && path.name !== `linux-${arch}`) {
      await rm(join(path.parentPath, path.name), { recursive: true, force: true })
    }
  }
}

async function run(
  command: string,
  argv: readonly string[],
  signal: AbortSignal,
  timeout: number,
  cwd?: string,
): Promise<string> {
  try {
    const options = { signal, timeout, maxBuffer: MAX_TEXT_BYTES, ...(cwd === undefined ? {} : { cwd }) }
    return (await promisify(execFile)(command, [...argv], options)).stdout
  } catch (cause) {
    signal.throwIfAborted()
    const words = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
    const why = words === '' ? String(cause) : words.slice(0, 400)
    throw new SluiceError('SLUICE_FLASH_BUNDLE', `'${command} ${argv[0]}' failed: ${why}`, {
      hint: `Is ${command} installed, and for npm its registry reachable?`,
      cause,
    })
  }
}

const badBundle = (path: string, what: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_BUNDLE', `'${path}' is no bundle: ${what}`, {
    hint: 'Make one: sluice flash bundle --arch arm64 -o FILE',
  })
