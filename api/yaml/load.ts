import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { objectKey } from '../resources.ts'
import { isOurs, type SluiceResource, validateResource } from '../validate.ts'
import { DEFAULT_NAMESPACE, type SetOptions, validateSet } from '../validate-set.ts'
import type { Finding } from './findings.ts'
import { type LocatedFinding, MAX_YAML_LENGTH, readYaml, type SourceDocument } from './read.ts'

export interface ManifestSource {
  /** Name for messages; need not exist. */
  readonly file: string
  readonly text: string
}

export interface LoadedResource {
  readonly resource: SluiceResource
  readonly document: SourceDocument
}

export interface LoadedManifests {
  /** Whether there is no error: only then should anything of it be used. */
  readonly ok: boolean
  /** The sound objects, in the order they were written. */
  readonly resources: readonly LoadedResource[]
  /** Documents of other groups, untouched. */
  readonly others: readonly SourceDocument[]
  /** By file, then from top to bottom. */
  readonly findings: readonly LocatedFinding[]
  /** Text by file, for `formatFindings`. */
  readonly sources: ReadonlyMap<string, string>
}

const describe = ({ kind, name, namespace }: SourceDocument): string | undefined =>
  kind === undefined || name === undefined
    ? undefined
    : `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`

/** Gives findings about a document their line and column. For whoever finds more than the schemas know. */
export const locateFindings = (document: SourceDocument, findings: readonly Finding[]): LocatedFinding[] =>
  findings.map((finding) => {
    const object = describe(document)
    return {
      ...finding,
      file: document.file,
      ...document.positionOf(finding.path, finding.at),
      ...(object === undefined ? {} : { object }),
    }
  })

const hasError = (findings: readonly Finding[]): boolean => findings.some(({ severity }) => severity === 'error')

/**
 * Reads, validates and cross-checks manifests: all findings of all files at once. Models that are not among them are
 * looked up with `options.modelOf`. Never throws.
 */
export function loadManifests(sources: readonly ManifestSource[], options: SetOptions = {}): LoadedManifests {
  const findings: LocatedFinding[] = []
  const loaded: LoadedResource[] = []
  const others: SourceDocument[] = []
  const brokenModels = new Set(options.brokenModels)
  for (const { file, text } of sources) {
    const read = readYaml(text, file)
    findings.push(...read.findings)
    for (const document of read.documents) {
      if (document.apiVersion !== undefined && document.kind !== undefined && !isOurs(document.value)) {
        others.push(document)
        continue
      }
      const own = validateResource(document.value)
      findings.push(...locateFindings(document, own))
      // Sound as far as the schema goes: that is what makes it one of the resource types.
      if (!hasError(own)) loaded.push({ resource: document.value as SluiceResource, document })
      else if (document.kind === 'DeviceModel' && document.name !== undefined) {
        brokenModels.add(objectKey(document.namespace ?? DEFAULT_NAMESPACE, document.name))
      }
    }
  }
  const resources = loaded.map(({ resource }) => resource)
  const broken = new Set<number>()
  for (const { object, ...finding } of validateSet(resources, { ...options, brokenModels })) {
    findings.push(...locateFindings(loaded[object]!.document, [finding]))
    if (finding.severity === 'error') broken.add(object)
  }
  const order = new Map(sources.map(({ file }, index) => [file, index]))
  const place = ({ file }: LocatedFinding): number => order.get(file) ?? 0
  findings.sort((a, b) => place(a) - place(b) || a.line - b.line || a.column - b.column)
  return {
    ok: !hasError(findings),
    resources: loaded.filter((_, index) => !broken.has(index)),
    others,
    findings,
    sources: new Map(sources.map(({ file, text }) => [file, text])),
  }
}

const MANIFEST_NAME = /\.(ya?ml|json)$/
const MAX_FILES = 10_000

const unreadable = (file: string, thrown: unknown): LocatedFinding => {
  const code: unknown = thrown instanceof Error ? Reflect.get(thrown, 'code') : undefined
  const why =
    code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'may not be read by this user' : 'cannot be read'
  return {
    severity: 'error',
    code: 'SLUICE_FILE_UNREADABLE',
    message: `this file ${why}${why === 'cannot be read' ? `: ${thrown instanceof Error ? thrown.message : thrown}` : ''}`,
    hint: code === 'EACCES' ? 'Change its permissions, or run as its owner.' : 'Check the path.',
    path: [],
    file,
    line: 1,
    column: 1,
  }
}

async function readSource(file: string): Promise<ManifestSource | LocatedFinding> {
  try {
    const { size } = await stat(file)
    // Four bytes a character at most: what is larger than that need not be read to be refused.
    if (size > MAX_YAML_LENGTH * 4) throw new Error(`it is ${size} bytes long`)
    return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file)) }
  } catch (thrown) {
    return unreadable(file, thrown)
  }
}

/** The manifest files behind a path: itself, or the .yaml, .yml and .json files of a folder, sorted, not deeper. */
async function expand(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const names = (await readdir(path)).filter((name) => MANIFEST_NAME.test(name)).sort()
    return names.map((name) => join(path, name))
  } catch {
    return [path]
  }
}

/**
 * `loadManifests` for files and folders. A file that cannot be read is a finding (SLUICE_FILE_UNREADABLE) like any
 * other. Rejects only when the signal aborts.
 */
export async function loadManifestFiles(
  paths: readonly string[],
  options: SetOptions = {},
  signal?: AbortSignal,
): Promise<LoadedManifests> {
  const files: string[] = []
  for (const path of paths) files.push(...(await expand(path)))
  const sources: ManifestSource[] = []
  const unread: LocatedFinding[] = []
  for (const file of files.slice(0, MAX_FILES)) {
    signal?.throwIfAborted()
    const source = await readSource(file)
    if ('text' in source) sources.push(source)
    else unread.push(source)
  }
  const loaded = loadManifests(sources, options)
  return { ...loaded, ok: loaded.ok && unread.length === 0, findings: [...unread, ...loaded.findings] }
}
