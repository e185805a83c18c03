import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Fields, References, TextFile } from '../api/yaml/fragments.ts'
import { protocols } from '../mappers/registry.ts'
import { fragmentFolder } from './catalogue-folder.ts'

const MAX_BYTES = 1 << 20

/** Fragments that come with Sluice: `sunspec-common` lies in `devicemodels/fragments/sunspec-common.yaml`. */
const shipped = (): string[] =>
  existsSync(fragmentFolder())
    ? readdirSync(fragmentFolder())
        .filter((file) => file.endsWith('.yaml'))
        .map((file) => file.slice(0, -'.yaml'.length))
        .sort()
    : []

function readSmall(path: string): string {
  let size: number
  try {
    const stat = statSync(path)
    if (!stat.isFile()) throw new Error('it is no file')
    size = stat.size
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new Error(`'${path}' cannot be read (${reason})`, { cause })
  }
  if (size > MAX_BYTES) throw new Error(`'${path}' is larger than 1 MiB`)
  return readFileSync(path, 'utf8')
}

/** Paths in a file are relative to it; those in a text from standard input, to the folder one is in. */
const beside = (path: string, from: string): string => resolve(existsSync(from) ? dirname(from) : '.', path)

function fragmentOf(name: string, from: string): TextFile | undefined {
  if (/^\.{0,2}\//.test(name)) {
    const file = beside(name, from)
    return { file, text: readSmall(file) }
  }
  if (!shipped().includes(name)) return undefined
  const file = join(fragmentFolder(), `${name}.yaml`)
  return { file, text: readSmall(file) }
}

function moved(protocol: string, binding: Fields, by: number): Fields | undefined {
  return protocols.find(({ name }) => name === protocol)?.moved?.(binding, by)
}

/** How files refer to fragments, to each other and to decoders: the same for whoever reads them. */
export const references: References = {
  fragmentOf,
  fragmentNames: shipped,
  moved,
  textOf: (path, from) => readSmall(beside(path, from)),
  fileKeys: Object.fromEntries(
    protocols.flatMap(({ name, fileKeys }) => (fileKeys === undefined ? [] : [[name, fileKeys]])),
  ),
}
