import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { runTool, type Tool } from './toolchain.ts'

/** One C file compiled: the object and, beside it, what gcc says of its stack. */
export interface CompiledObject {
  readonly source: string
  readonly object: string
  /** gcc's call graph with frame sizes; empty where it makes none. */
  readonly callGraph: string
  readonly reused: boolean
}

export interface CompileOptions {
  readonly compiler: Tool
  readonly flags: readonly string[]
  /** Folders of headers: whatever is in them is part of the key. */
  readonly includes: readonly string[]
  readonly cacheDir: string
  readonly signal?: AbortSignal | undefined
}

const versions = new Map<string, Promise<string>>()

/**
 * Compiles a file unless the same content, headers, flags and compiler were compiled before. Several processes may share
 * a cache: an object appears there whole.
 */
export async function compileCached(source: string, options: CompileOptions): Promise<CompiledObject> {
  const key = createHash('sha256')
    .update(await compilerVersion(options.compiler))
    .update(JSON.stringify(options.flags.map(withoutPlace)))
    .update(headersDigest(options.includes))
    .update(basename(source))
    .update('\0')
    .update(readFileSync(source))
    .digest('hex')
  mkdirSync(options.cacheDir, { recursive: true })
  const object = join(options.cacheDir, `${basename(source, '.c')}-${key.slice(0, 24)}.o`)
  const graph = object.replace(/\.o$/, '.ci')
  if (existsSync(object)) return { source, object, callGraph: readIfThere(graph), reused: true }
  const scratch = object.replace(/\.o$/, `.${randomUUID().slice(0, 8)}.o`)
  const includes = options.includes.flatMap((folder) => ['-I', folder])
  await runTool(options.compiler, [...options.flags, ...includes, '-c', source, '-o', scratch], {
    signal: options.signal,
  })
  const scratchGraph = scratch.replace(/\.o$/, '.ci')
  if (existsSync(scratchGraph)) renameSync(scratchGraph, graph)
  renameSync(scratch, object)
  return { source, object, callGraph: readIfThere(graph), reused: false }
}

/** Where the files lie is not in the object: that is what the prefix maps are for. So it must not be in its key either. */
function withoutPlace(flag: string): string {
  return flag.replace(/^(-ffile-prefix-map=).*(=[^=]*)$/, '$1$2')
}

function readIfThere(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

function compilerVersion(compiler: Tool): Promise<string> {
  const known = versions.get(compiler)
  if (known !== undefined) return known
  const asked = runTool(compiler, ['--version']).then(({ stdout }) => `${compiler} ${stdout}`)
  versions.set(compiler, asked)
  asked.catch(() => versions.delete(compiler))
  return asked
}

/** Over the headers of folders, not those of folders within. */
function headersDigest(folders: readonly string[]): string {
  const hash = createHash('sha256')
  for (const folder of folders) {
    for (const file of readdirSync(folder).sort()) {
      if (!file.endsWith('.h')) continue
      hash.update(`${file}\0`).update(readFileSync(join(folder, file)))
    }
  }
  return hash.digest('hex')
}

/** Writes a file only when its content differs; returns its path. */
export function writeIfChanged(path: string, content: string): string {
  if (
    existsSync(path) &&
    statSync(path).size === Buffer.byteLength(content) &&
    readFileSync(path, 'utf8') === content
  ) {
    return path
  }
  writeFileSync(path, content)
  return path
}
