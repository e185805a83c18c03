import { objectKey } from '../resources.ts'
import { isOurs, type SluiceResource, validateResource } from '../validate.ts'
import { DEFAULT_NAMESPACE, type SetOptions, validateSet } from '../validate-set.ts'
import type { Finding } from './findings.ts'
import { type LocatedFinding, readYaml, type SourceDocument } from './read.ts'

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
