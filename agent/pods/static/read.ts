import { createHash } from 'node:crypto'
import type { LinkPod, PodSpec } from '../../../api/link/pods.ts'
import { CONFIG_HASH, CONFIG_MIRROR, CONFIG_SOURCE, type StaticPod } from '../../../api/link/static-pods.ts'
import { objectKey } from '../../../api/resources.ts'
import type { Finding } from '../../../api/yaml/findings.ts'
import { locateFindings } from '../../../api/yaml/load.ts'
import { type LocatedFinding, readYaml, type SourceDocument } from '../../../api/yaml/read.ts'
import { checkPodObject } from '../check.ts'
import { podFindings } from './shape.ts'

export interface ManifestRead {
  readonly pods: readonly StaticPod[]
  /** What is wrong; a file with any of these is not used. */
  readonly errors: readonly LocatedFinding[]
}

/** Names of objects, RFC 1123; a suffix with the gateway's name follows. */
const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/
const MAX_NAME = 253

/**
 * The pods of one file, YAML or JSON, of one or several documents. Never throws: what is wrong is said with its line and
 * field. The same text gives the same uids, whatever the file is named.
 */
export function readManifest(text: string, file: string, gateway: string): ManifestRead {
  const { documents, findings } = readYaml(text, file)
  const errors = findings.filter(({ severity }) => severity === 'error')
  const pods: StaticPod[] = []
  for (const document of documents) {
    const wrong = documentFindings(document)
    errors.push(...locateFindings(document, wrong))
    if (wrong.length > 0) continue
    const pod = staticPod(document.value as Manifest, gateway)
    const finding = nameFinding(pod) ?? checkPodObject({ kind: 'Pod', rev: '', ...pod })
    if (finding === undefined) pods.push(pod)
    else errors.push(...locateFindings(document, [{ ...finding, code: 'SLUICE_POD_STATIC' }]))
  }
  return { pods, errors }
}

interface Manifest {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string | null
    readonly labels?: Readonly<Record<string, string>> | null
    readonly annotations?: Readonly<Record<string, string>> | null
  }
  readonly spec: PodSpec
}

function documentFindings({ apiVersion, kind, value }: SourceDocument): Finding[] {
  if (apiVersion === 'v1' && kind === 'Pod') return podFindings(value)
  const is = apiVersion === undefined || kind === undefined ? 'this is no object' : `this is a ${apiVersion} ${kind}`
  return [
    {
      ...{ severity: 'error', code: 'SLUICE_POD_STATIC', path: kind === undefined ? [] : ['kind'] },
      message: `${is}; a gateway runs Pods from files`,
      hint: 'Write `apiVersion: v1` and `kind: Pod`.',
    },
  ]
}

function staticPod({ metadata, spec }: Manifest, gateway: string): StaticPod {
  const key = objectKey(metadata.namespace || 'default', `${metadata.name}-${gateway}`)
  const { labels, annotations } = metadata
  const { [CONFIG_MIRROR]: _, [CONFIG_HASH]: __, ...own } = annotations ?? {}
  const { nodeName: ___, ...rest } = spec
  const what = JSON.stringify([key, labels ?? {}, own, rest])
  const uid = createHash('sha256').update(what).digest('hex').slice(0, 32)
  const object: LinkPod = {
    ...{ uid, generation: 1, spec: { ...rest, nodeName: gateway } },
    metadata: {
      ...(labels == null ? {} : { labels }),
      annotations: { ...own, [CONFIG_SOURCE]: 'file', [CONFIG_HASH]: uid },
    },
  }
  return { key, object }
}

function nameFinding({ key }: StaticPod): Finding | undefined {
  const [namespace = '', name = ''] = key.split('/')
  const bad = [
    [name, 'name', MAX_NAME],
    [namespace, 'namespace', 63],
  ] as const
  for (const [text, field, most] of bad) {
    if (text.length <= most && NAME.test(text)) continue
    return {
      ...{ severity: 'error', code: 'SLUICE_POD_STATIC', path: ['metadata', field] },
      message: `'${text.slice(0, 64)}' is no name of a ${field === 'name' ? 'pod' : 'namespace'}`,
      hint: `Use lower case letters, digits, '-' and '.', at most ${most} with the gateway's name behind it.`,
    }
  }
  return undefined
}
