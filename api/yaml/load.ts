import { objectKey } from '../resources.ts'
import { isOurs, type SluiceResource, validateResource } from '../validate.ts'
import { DEFAULT_NAMESPACE, type SetOptions, validateSet } from '../validate-set.ts'
import type { Finding } from './findings.ts'
import { FRAGMENT_KIND, isFields, type References } from './fragments.ts'
import { type LocatedFinding, readYaml, type SourceDocument } from './read.ts'
import { type ResolvedDocument, Resolver } from './resolve.ts'

export interface ManifestSource {
  /** Name for messages; need not exist. */
  readonly file: string
  readonly text: string
}

export interface LoadedResource {
  readonly resource: SluiceResource
  readonly document: ResolvedDocument
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
export const locateFindings = (
  document: SourceDocument | ResolvedDocument,
  findings: readonly Finding[],
): LocatedFinding[] =>
  findings.map((finding) => {
    const object = describe(document)
    const origin = 'originOf' in document ? document.originOf(finding.path, finding.at) : undefined
    return {
      ...finding,
      file: document.file,
      ...document.positionOf(finding.path, finding.at),
      ...(object === undefined ? {} : { object }),
      ...(origin === undefined ? {} : { origin }),
    }
  })

const hasError = (findings: readonly Finding[]): boolean => findings.some(({ severity }) => severity === 'error')

export interface LoadOptions extends SetOptions, References {}

/**
 * Reads, resolves, validates and cross-checks manifests: all findings of all files at once. What models refer to is put
 * in first, so that whatever comes out is plain. Models that are not among them are looked up with `options.modelOf`.
 * Never throws.
 */
export function loadManifests(sources: readonly ManifestSource[], options: LoadOptions = {}): LoadedManifests {
  const findings: LocatedFinding[] = []
  const loaded: LoadedResource[] = []
  const others: SourceDocument[] = []
  const brokenModels = new Set(options.brokenModels)
  const reads = sources.map(({ file, text }) => readYaml(text, file))
  const documents = reads.flatMap((read) => read.documents)
  const resolver = new Resolver(documents, options)
  findings.push(...reads.flatMap((read) => read.findings))
  for (const document of documents) {
    if (document.apiVersion !== undefined && document.kind !== undefined && !isOurs(document.value)) {
      others.push(document)
      continue
    }
    if (document.kind === FRAGMENT_KIND) {
      findings.push(...fragmentFindings(document, resolver))
      continue
    }
    const resolution = resolver.resolve(document)
    const own = validateResource(resolution.document.value)
    findings.push(...locateFindings(document, resolution.findings), ...locateFindings(resolution.document, own))
    // Sound as far as the schema goes: that is what makes it one of the resource types.
    if (!hasError([...resolution.findings, ...own])) {
      loaded.push({ resource: resolution.document.value as SluiceResource, document: resolution.document })
    } else if (document.kind === 'DeviceModel' && document.name !== undefined) {
      brokenModels.add(objectKey(document.namespace ?? DEFAULT_NAMESPACE, document.name))
    }
  }
  findings.push(...resolver.read.findings)
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
    sources: new Map([...resolver.read.sources, ...sources.map(({ file, text }) => [file, text] as const)]),
  }
}

/** A fragment is sound when a model of nothing but it would be. */
function fragmentFindings(document: SourceDocument, resolver: Resolver): LocatedFinding[] {
  const resolution = resolver.resolve(document)
  const { value } = resolution.document
  const own = isFields(value) ? validateResource({ ...value, kind: 'DeviceModel' }) : []
  return [...locateFindings(document, resolution.findings), ...locateFindings(resolution.document, own)]
}
