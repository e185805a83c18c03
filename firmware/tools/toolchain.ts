import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

/** Programs of the toolchain, and the Debian package each comes in. */
const packages = {
  'arm-none-eabi-gcc': 'gcc-arm-none-eabi',
  'arm-none-eabi-objcopy': 'binutils-arm-none-eabi',
  'arm-none-eabi-objdump': 'binutils-arm-none-eabi',
  'arm-none-eabi-nm': 'binutils-arm-none-eabi',
  'qemu-system-arm': 'qemu-system-arm',
  cc: 'gcc',
  clang: 'clang libclang-rt-14-dev',
  cppcheck: 'cppcheck',
  'clang-tidy': 'clang-tidy',
  mbpoll: 'mbpoll',
} as const

export type Tool = keyof typeof packages

/** Absolute path of a program, or undefined. */
export function toolPath(tool: Tool): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // not in this folder
    }
  }
  return undefined
}

/** What to type when a program is missing; undefined when all are there. */
export function missingTools(tools: readonly Tool[]): string | undefined {
  const missing = tools.filter((tool) => toolPath(tool) === undefined)
  if (missing.length === 0) return undefined
  return `apt-get install ${[...new Set(missing.map((tool) => packages[tool]))].join(' ')}`
}

/** Absolute path of a program. SLUICE_FW_TOOLCHAIN_MISSING names the package. */
export function findTool(tool: Tool): string {
  const path = toolPath(tool)
  if (path !== undefined) return path
  throw new SluiceError('SLUICE_FW_TOOLCHAIN_MISSING', `'${tool}' is not installed`, {
    hint: `Debian, Ubuntu, Raspberry Pi OS: apt-get install ${packages[tool]}`,
  })
}

export interface ToolOutput {
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program of the toolchain to its end. SLUICE_FW_TOOL_FAILED carries what it said; rejects with the signal's
 * reason when that aborts.
 */
export function runTool(
  tool: Tool,
  args: readonly string[],
  options: { cwd?: string; signal?: AbortSignal | undefined; env?: Readonly<Record<string, string>> } = {},
): Promise<ToolOutput> {
  const path = findTool(tool)
  const { signal } = options
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const child = spawn(path, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Messages and output must not depend on where and for whom this runs.
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', SOURCE_DATE_EPOCH: '0', ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(signal === undefined ? {} : { signal, killSignal: 'SIGKILL' }),
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => void out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => void err.push(chunk))
    child.on('error', (error) => reject(signal?.aborted === true ? signal.reason : error))
    child.on('close', (code) => {
      const stdout = Buffer.concat(out).toString()
      const stderr = Buffer.concat(err).toString()
      if (code === 0) resolve({ stdout, stderr })
      else reject(failed(tool, code, `${stderr}${stdout}`))
    })
  })
}

function failed(tool: Tool, code: number | null, said: string): SluiceError {
  const text = said.trim().split('\n').slice(0, 40).join('\n')
  return new SluiceError('SLUICE_FW_TOOL_FAILED', `${tool} ended with ${code ?? 'a signal'}:\n${text}`, {
    hint: 'The first line of its message says which file and line.',
  })
}
