import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll } from 'vitest'

/** The folder of the C core. */
export const CORE = fileURLToPath(new URL('..', import.meta.url))

const STRICT = '-std=c11 -O1 -g -Wall -Wextra -Werror -Wconversion -Wshadow -Wundef -fno-common'.split(' ')
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']

/**
 * Whether a compiler for this machine is there. Where CI says so it has to be; elsewhere a suite that needs it is
 * skipped, with the line to type.
 */
export function hasCompiler(command: 'cc' | 'clang' = 'cc', debian = 'gcc'): boolean {
  const found = spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
  if (!found && process.env['CI'] === 'true') throw new Error(`${command} is missing: apt-get install ${debian}`)
  if (!found) process.stderr.write(`skipped, ${command} is missing: apt-get install ${debian}\n`)
  return found
}

/** Compiles sources of the core (paths below firmware/core) into a program with ASan and UBSan; removed after the tests. */
export async function compileForHost(
  sources: readonly string[],
  options: { readonly flags?: readonly string[]; readonly compiler?: string; readonly sanitize?: boolean } = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-core-'))
  afterAll(() => rm(folder, { recursive: true, force: true }))
  const program = join(folder, 'check')
  const argv = [
    ...STRICT,
    ...(options.sanitize === false ? ['-O2'] : SANITIZERS),
    ...(options.flags ?? []),
    ...sources.map((source) => join(CORE, source)),
    '-o',
    program,
  ]
  await promisify(execFile)(options.compiler ?? 'cc', argv)
  return program
}

/** Runs a program with text on its standard input; rejects with what it said when it fails. */
export function run(program: string, argv: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, [...argv], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${error.message}\n${stdout.slice(-4000)}\n${stderr.slice(-8000)}`))
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
